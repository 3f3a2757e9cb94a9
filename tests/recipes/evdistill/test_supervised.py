"""What the stages of EvDistill share, and the stages that learn from labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image
import pytest

from bicross_jax import models
from bicross_jax.recipes.evdistill import common, supervised
from bicross_jax.train import optim
from tests.recipes.devices import on_one
from tests.recipes.evdistill import toy
from tests.recipes.evdistill.conftest import PLAIN, draw, load
from tests.recipes.evdistill.toy import SIZE

AUGMENTED = ("augment.flip=0", "augment.jitter=1", "augment.scales=")


@pytest.fixture
def toys(monkeypatch):
  monkeypatch.setattr(common, "network", lambda config: toy.Segmenter())


def _frames(rows=2, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (rows, *SIZE, 3)).astype(np.uint8)


def test_a_frame_is_grey_as_pillow_makes_it_in_all_three_channels():
  rgb = _frames()
  x = common.seen(load("teacher"), common.picture(load("teacher"), {"rgb": rgb}, "frames"))
  assert x.shape == (2, *SIZE, 3)
  for i, frame in enumerate(rgb):
    grey = np.asarray(Image.fromarray(frame).convert("L"), np.float32)
    assert np.abs(255 * np.asarray(x[i]) - grey[..., None]).max() <= 1


def test_colours_and_the_third_channel_of_an_event_image():
  colours = load("teacher", "input.grey=False")
  x = common.seen(colours, common.picture(colours, {"rgb": _frames()}, "frames"))
  np.testing.assert_allclose(x, _frames() / np.float32(255), rtol=1e-6)
  events = _frames()[..., :2]
  x = common.seen(colours, common.picture(colours, {"event_image": events}, "events"))
  np.testing.assert_allclose(x[..., :2], events / np.float32(255), rtol=1e-6)
  assert x.shape[-1] == 3 and not np.asarray(x[..., 2]).any()


def test_normalised_pictures_have_the_moments_of_imagenet():
  config = load("teacher", "input.grey=False", "input.normalise=True")
  x = common.seen(config, common.picture(config, {"rgb": jnp.asarray(_frames())}, "frames"))
  mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  np.testing.assert_allclose(x, (_frames() / 255 - mean) / deviation, rtol=1e-4, atol=1e-5)


def test_colours_of_frames_alone_change():
  batch = {"rgb": _frames(), "event_image": _frames(seed=1)[..., :2], "label": _frames()[..., 0]}
  run = lambda *more: common.augmented(load("student", *more), jax.random.key(0), batch)
  out = run(*AUGMENTED)
  assert (np.asarray(out["rgb"]) != batch["rgb"]).mean() > 0.5 and out["rgb"].dtype == np.uint8
  for name in ("event_image", "label"):
    np.testing.assert_array_equal(out[name], batch[name])
  none = run(*PLAIN)
  jax.tree.map(np.testing.assert_array_equal, none, batch)


def test_all_maps_of_an_example_are_mirrored_and_enlarged_alike():
  """Three maps of one picture stay maps of one picture."""
  one = np.repeat(np.linspace(20, 200, SIZE[1], dtype=np.uint8)[None], SIZE[0], 0)[None]
  batch = {"rgb": np.stack([one] * 3, -1), "event_image": np.stack([one] * 2, -1), "label": one}
  config = load("student", "augment.flip=1", "augment.jitter=0", "augment.scales=2,")
  out = {n: np.asarray(x) for n, x in common.augmented(config, jax.random.key(0), batch).items()}
  for name in ("rgb", "event_image"):
    np.testing.assert_array_equal(out[name][..., 0], out[name][..., 1])
    assert np.abs(out[name][..., 0].astype(int) - out["label"]).max() <= 6  # a pixel's step
  assert np.all(np.diff(out["label"][0, 0].astype(int)) <= 0)  # mirrored
  assert np.ptp(out["label"]) < 0.6 * np.ptp(one)  # a half of it


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_published_optimiser(name):
  """Warm-up from 5e-6 to the rate, then a power of what is left; weights alone decay."""
  overrides = (f"optim.name={name}", "optim.lr=1e-3", "optim.weight_decay=0.005")
  config = load("teacher", *overrides, "optim.schedule=poly", "optim.warmup=10")
  transform = common.optimiser(config.optim, 40)
  params = {"conv": {"kernel": jnp.ones(3), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
  state, rates = transform.init(params), []
  for _ in range(31):
    updates, state = jax.jit(transform.update)(jax.tree.map(jnp.zeros_like, params), state, params)
    rates.append(float(optim.learning_rates(state)["lr"]))
    after = optax.apply_updates(params, updates)
    assert (after["conv"]["kernel"] < 1).all()
    np.testing.assert_array_equal(after["conv"]["bias"], 1)
    np.testing.assert_array_equal(after["norm"]["scale"], 1)
  want = [5e-6 * (1e-3 / 5e-6) ** (i / 10) if i <= 10 else 1e-3 * (1 - (i - 10) / 30) ** 0.9
          for i in range(31)]  # fmt: skip
  np.testing.assert_allclose(rates, want, rtol=1e-4)


def test_sgd_has_nesterovs_momentum():
  torch = pytest.importorskip("torch")
  config = load("teacher", "optim.name=sgd", "optim.lr=0.1", "optim.schedule=constant")
  transform = common.optimiser(config.optim, 10)
  params = {"kernel": jnp.array([1.0, -2.0])}
  state, ours = transform.init(params), torch.tensor([1.0, -2.0], requires_grad=True)
  theirs = torch.optim.SGD([ours], lr=0.1, momentum=0.9, nesterov=True)
  for k in range(5):
    gradient = np.float32([np.sin(k), 1.0])
    updates, state = transform.update({"kernel": jnp.asarray(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    ours.grad = torch.tensor(gradient)
    theirs.step()
  np.testing.assert_allclose(params["kernel"], ours.detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
  "stage, overrides, field",
  [
    ("teacher", (), "rgb"),
    ("teacher", ("input.modality=events",), "event_image"),
    ("supervised", (), "event_image"),
  ],
)
def test_what_a_network_is_shown(stage, overrides, field, toys):
  recipe = supervised.create(load(stage, *overrides))
  assert set(recipe.batch_spec()) == {field, "label"} and recipe.inputs == (field,)
  assert recipe.metric == ("miou", "max")


def test_labels_are_learned(toys):
  """A step goes down the weighted cross-entropy of known pixels; twenty lower it."""
  constant = "optim.schedule=constant"
  config = load("supervised", *PLAIN, constant, "loss.labels=2", "loss.ohem=1", "optim.lr=0.1")
  recipe = supervised.create(config)
  state = recipe.init(jax.random.key(0), {})
  batch = draw(recipe.batch_spec(), rows=4)
  bright = batch["event_image"][..., 0] > 128
  batch["label"] = jnp.where(batch["label"] == 255, 255, jnp.where(bright, 5, 2)).astype(jnp.uint8)
  step, losses = on_one(lambda s, b, k: recipe.train_step(s, b, k[0])), []
  key = jax.random.key(0)
  for _ in range(20):
    before = state
    state, metrics = step(state, batch, key[None])
    losses.append(float(metrics["loss"][0] / metrics["loss"][1]))
    if len(losses) == 1:
      x = common.seen(config, common.picture(config, batch, "events"))
      variables = {"params": before.params, "batch_stats": before.batch_stats}
      learn = lambda x: toy.Segmenter().apply(variables, x, train=True, mutable=["batch_stats"])
      output, updates = on_one(learn)(x)
      known = np.asarray(batch["label"]) != 255
      index = np.asarray(batch["label"])[known]
      said = np.asarray(jax.nn.log_softmax(output.logits))[known][np.arange(index.size), index]
      assert losses[0] == pytest.approx(-2 * said.mean(), rel=1e-4)
      jax.tree.map(np.testing.assert_allclose, state.batch_stats, updates["batch_stats"])
  assert losses[-1] < 0.6 * losses[0] and state.step == 20


def test_it_may_start_from_other_weights(toys):
  """Whole, or a part of it: the rest is new."""
  recipe = supervised.create(load("teacher"))
  given = models.init(toy.Segmenter(), jax.random.key(7), (1, *SIZE, 3))
  state = recipe.init(jax.random.key(0), {"weights": given})
  jax.tree.map(np.testing.assert_array_equal, state.params, given["params"])
  part = {**given, "params": {name: given["params"][name] for name in ("conv", "norm")}}
  state, new = (recipe.init(jax.random.key(0), p) for p in ({"weights": part}, {}))
  jax.tree.map(np.testing.assert_array_equal, state.params["conv"], given["params"]["conv"])
  jax.tree.map(np.testing.assert_array_equal, state.params["classes"], new.params["classes"])
