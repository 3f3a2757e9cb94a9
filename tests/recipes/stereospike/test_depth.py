"""StereoSpike's recipe: memory over windows, augmentation, label spaces, devices, what its config may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.config import grammar
from bicross_jax.models import stereospike
from bicross_jax.ops import label_space, surrogate
from bicross_jax.recipes.stereospike import common, depth, rules
from bicross_jax.train import optim
from tests.recipes import devices

SMOKE = "configs/stereospike.py:binocular,smoke"
SIZE = (12, 16)
SMALL = [f"data.height={SIZE[0]}", f"data.width={SIZE[1]}"]
SEQUENCE = ["data.sequence=4", "data.bins=2", "input.steps=2", "model.multiply_factor=4"]
NO_LEAVES = ()


def _config(*overrides, spec=SMOKE):
  return grammar.resolve_durations(grammar.load(spec, [*SMALL, *overrides]), 8)


def _batch(config, seed=0, **fields):
  rng = np.random.default_rng(seed)
  shape = (4, *SIZE)
  events = rng.integers(0, 4, (*shape, config.data.bins, 4)).astype(np.uint8)
  return {"events": events, "depth": rng.uniform(2, 40, shape).astype(np.float32), **fields}


def test_windows_with_a_memory_are_one_long_recording():
  """Potentials go on from window to window, and begin anew where a recording does."""
  config = _config(*SEQUENCE)
  recipe = depth.create(config)
  variables = common.initialise(config, common.network(config), jax.random.key(0))
  predict = jax.jit(recipe.predict)
  windows = [_batch(config, seed)["events"] for seed in range(2)]
  going, begins = np.zeros(4, bool), np.array([False, True, False, True])
  first, carry = predict(variables, {"events": windows[0], "reset": ~going}, NO_LEAVES)
  second, _ = predict(variables, {"events": windows[1], "reset": going}, carry)
  whole = np.moveaxis(np.concatenate(windows, axis=3), 3, 0).astype(np.float32)
  output = jax.jit(common.network(config).apply)(variables, whole)
  space = common.labels(config)
  decoded = (label_space.decode(space, output.depths[0][t]) for t in (1, 3))
  metres = [np.maximum(x, depth.NEAREST) for x in decoded]
  np.testing.assert_allclose(first["depth"], metres[0], rtol=1e-4)
  np.testing.assert_allclose(second["depth"], metres[1], rtol=1e-4)
  mixed, _ = predict(variables, {"events": windows[1], "reset": begins}, carry)
  fresh, _ = predict(variables, {"events": windows[1], "reset": ~going}, NO_LEAVES)
  for row, begun in enumerate(begins):
    want = (fresh if begun else second)["depth"][row]
    np.testing.assert_allclose(mixed["depth"][row], want, rtol=1e-4)


def test_training_goes_on_from_the_window_before():
  """The state holds each device's potentials; a second step begins where the first ended."""
  config = _config(*SEQUENCE)
  recipe = depth.create(config)
  state = recipe.init(jax.random.key(0), {})
  assert all(x.shape[:2] == (jax.local_device_count(), 4) for x in jax.tree.leaves(state.local))
  state = state.replace(local=jax.tree.map(lambda x: x[0], state.local))
  step = jax.jit(
    lambda s, b: jax.vmap(
      lambda s, b: recipe.train_step(s, b, jax.random.key(1)), (None, 0), axis_name="batch"
    )(s, jax.tree.map(lambda x: x[None], b))
  )
  batch = _batch(config, reset=np.ones(4, bool))
  after, _ = step(state, batch)
  after = jax.tree.map(lambda x: x[0], after)
  network = common.network(config)
  output = jax.jit(network.apply)({"params": state.params}, common.network_input(config, batch))
  for name, x in output.state.items():
    np.testing.assert_allclose(after.local["potentials"][name], x, atol=1e-4, err_msg=name)
  going = {**batch, "reset": np.zeros(4, bool)}
  on, again = (step(after, b)[1]["loss"] for b in (going, batch))
  assert float(on[0][0]) != float(again[0][0])


def test_the_input_of_the_network():
  """Steps come first; slices of a step and cameras lie side by side; one camera is the left one."""
  config = _config("data.bins=6", "input.steps=3", "input.slices=2")
  events = _batch(config)["events"]
  x = np.asarray(common.network_input(config, {"events": events}))
  assert x.shape == (3, 4, *SIZE, 8) and x.dtype == np.float32
  np.testing.assert_array_equal(x[1, ..., :4], events[:, :, :, 2])
  np.testing.assert_array_equal(x[1, ..., 4:], events[:, :, :, 3])
  mono = _config(spec="configs/stereospike.py:monocular,smoke")
  x = common.network_input(mono, {"events": events[..., :1, :]})
  np.testing.assert_array_equal(x[0], events[:, :, :, 0, :2])
  spikes = _config(spec="configs/stereospike.py:spikecam,smoke")
  fired = np.random.default_rng(1).integers(0, 2, (4, *SIZE, 128)).astype(np.uint8)
  packed = np.packbits(fired, axis=-1, bitorder="little")
  x = common.network_input(spikes, {"spike": packed})
  parts = spikes.input.steps * spikes.input.slices
  rates = fired.reshape(4, *SIZE, parts, -1).mean(-1)
  np.testing.assert_allclose(x[1], rates[..., spikes.input.slices :], atol=1e-6)


def test_augmentation_keeps_depth_and_events_together():
  """Upside down, then back in time; with shares of 1 all of a batch."""
  config = _config("augment.vertical=1", "augment.reverse_time=1")
  batch = _batch(config, depth_before=np.full((4, *SIZE), 7, np.float32))
  out = depth.augmented(config, jax.random.key(0), batch)
  np.testing.assert_array_equal(out["events"], batch["events"][:, ::-1][..., [1, 0, 3, 2]])
  assert (np.asarray(out["depth"]) == 7).all()
  np.testing.assert_array_equal(out["depth_before"], batch["depth"][:, ::-1])
  thinned = depth.augmented(_config("augment.drop=1"), jax.random.key(0), batch)["events"]
  assert 0 < (np.asarray(thinned) != batch["events"]).mean() < 0.4


@pytest.mark.parametrize("space", label_space.SPACES)
def test_losses_are_taken_in_the_label_space(space):
  """Maps that are the labels cost nothing; those that are off by 1 cost the mean absolute error."""
  config = _config(f"labels.name={space}", "labels.focal_baseline=40")
  metres = _batch(config)["depth"]
  label = label_space.encode(common.labels(config), metres)
  run = jax.vmap(lambda o, d: depth.losses(config, o, d), axis_name="batch")
  for off in (0, 1):
    maps = tuple((label + off)[None, None] for _ in range(4))
    output = stereospike.StereoSpikeOutput(maps[0][:, 0], maps, {}, {})
    parts = run(output, metres[None])
    assert float(parts["absolute_loss"][0]) == pytest.approx(4 * off, abs=1e-5)
    assert float(parts["variance_loss"][0]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
  "overrides, said",
  [
    (["data.bins=2"], "1 steps of 1 slices are 1, not the config.data.bins=2"),
    (["augment.horizontal=0.5"], "depth is known for the left camera alone"),
    (["data.sequence=4", "augment.vertical=0.5"], "from window to window of a sequence"),
    (["data.cameras=1"], "config.input.cameras=2, but config.data.cameras=1"),
    (["loss.max_depth=0.0001"], "must be below max_depth"),
    (["model.tau=1"], "'model.tau' is 1.0: it must be above 1"),
    (["model.surrogate=arctan"], "choose from atan"),
    (["input.modality=spike", "input.steps=3"], "do not divide"),
  ],
)
def test_what_does_not_fit_together_is_one_line(overrides, said):
  with pytest.raises(errors.UserError, match="config") as error:
    grammar.load(SMOKE, overrides)
  assert said in str(error.value) and "\n" not in str(error.value)


def test_words_of_the_config_file_itself():
  load = lambda arg: grammar.load(f"configs/stereospike.py:{arg}")
  assert load("binocular,mvsec,split=3").data.domain == "split3"
  optim = load("binocular,mvsec,preset=repo").optim
  assert optim.gamma == 0.5 and optim.milestones == (8 / 70, 42 / 70, 60 / 70)
  assert load("monocular,dense").data.cameras == 1
  for arg, said in (
    ("binocular,mvsec,split=4", "scenario mvsec has 1, 2 and 3"),
    ("binocular,synthetic,split=1", "scenario synthetic has no split"),
    ("binocular,mvsec,preset=paper", "choose from paper_v2, repo"),
  ):
    with pytest.raises(errors.UserError, match=said):
      load(arg)


def test_a_config_may_name_every_surrogate_that_alpha_alone_describes():
  known = {name for name, made in surrogate.SURROGATES.items() if set(made.defaults) == {"alpha"}}
  assert set(rules.SURROGATES) == known


def test_the_rate_falls_at_the_published_epochs():
  """preset=repo: halved at epochs 8, 42 and 60 of 70."""
  config = grammar.load("configs/stereospike.py:binocular,mvsec,preset=repo")
  config = grammar.resolve_durations(config, 3110)
  transform = optim.single(config.optim, config.train.steps)
  state = transform.init({"a": jnp.zeros(2)})
  update = jax.jit(
    lambda count: transform.update(
      {"a": jnp.ones(2)}, jax.tree.map(lambda x: x, _at(state, count)), {"a": jnp.zeros(2)}
    )[0]["a"][0]
  )
  sizes = [abs(float(update(3110 * epoch))) for epoch in (7, 8, 41, 42, 59, 60)]
  ratios = np.array(sizes) / sizes[0]
  np.testing.assert_allclose(ratios, [1, 0.5, 0.5, 0.25, 0.25, 0.125], rtol=0.02)


def _at(state, count):
  """An optimiser's state after so many updates: all its counters."""
  whole = lambda x: x.ndim == 0 and jnp.issubdtype(x.dtype, jnp.integer)
  return jax.tree.map(lambda x: jnp.full_like(x, count) if whole(x) else x, state)


FOUR = """
import sys, jax, numpy as np
from bicross_jax.config import grammar
from bicross_jax.models import stereospike
from bicross_jax.recipes.stereospike import depth
config = grammar.load(f"configs/stereospike.py:{sys.argv[1]},smoke,data.batch_size=8")
recipe = depth.create(grammar.resolve_durations(config, 8))
rng = np.random.default_rng(0)
batch = {"events": rng.integers(0, 4, (8, 32, 64, 1, 4)).astype(np.uint8),
         "depth": rng.uniform(2, 40, (8, 32, 64)).astype(np.float32)}
batch["depth"][:3] = 0
state = recipe.init(jax.random.key(0), {})
found = []
for n in (1, 4):
  step = jax.pmap(recipe.train_step, axis_name="batch", in_axes=(None, 0, None),
                  out_axes=(None, None), devices=jax.devices()[:n])
  split = jax.tree.map(lambda v: v.reshape(n, -1, *v.shape[1:]), batch)
  after, metrics = step(state, split, jax.random.key(1))
  found.append((jax.device_get(after), {k: float(s / c) for k, (s, c) in metrics.items()}))
(one, m1), (four, m4) = found
for name, value in m1.items():
  np.testing.assert_allclose(m4[name], value, rtol=1e-3, err_msg=name)
for part in ("params", "batch_stats"):
  for a, b in zip(jax.tree.leaves(getattr(one, part)), jax.tree.leaves(getattr(four, part))):
    # Adam's first step has the size of its rate, 5e-3, whatever the gradient: rounding may turn one.
    assert np.mean(np.abs(a - b) > 1e-4 * max(1, np.abs(a).max())) < 1e-3
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["binocular", "ann"])
def test_four_devices_equal_one(stage):
  """Losses and batch norms pool over the devices, which have different numbers of valid pixels."""
  devices.on_four(FOUR, stage)
