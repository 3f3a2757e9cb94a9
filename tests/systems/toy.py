"""A toy system outside the package, which needs what BiCross does not.

`stereo` learns depth from a stereo pair without labels, with a critic beside it (two networks, two
optimiser steps), and is validated by its own score. `segment` learns classes from colour and events
with a memory that goes from window to window; it starts from two parents, `stereo` and a network of
BiCross, whose depth it imitates.
"""

import copy

import flax.linen as nn
import jax
import jax.numpy as jnp

from bicross_jax import errors, fields, models, recipes
from bicross_jax.config import grammar, rules
from bicross_jax.losses import pooled
from bicross_jax.ops import inputs, warp
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS
from tests.systems import toy_data

CLASSES = 3
NEAREST = 1e-2  # pixels of disparity
# A field of the recipe's own: how much a pixel counts in the loss of classes.
ATTENTION = fields.Field("map", ("uint8",), low=1, high=3, meaning="weight of a pixel [H, W]")
RULES = {
  "model.width": rules.whole(1, 64),
  "optim.rate": rules.number(0, above=True),
  "optim.second_rate": rules.number(0, above=True),
  "loss.auxiliary": rules.number(0),
}


def check(config):
  """What must fit together."""
  if config.stage == "segment" and not config.data.sequence:
    raise errors.UserError("config.data.sequence=0: stage segment learns from sequences")


class Stem(nn.Module):
  """float[B, h, w, C] -> float[B, h, w, width]."""

  width: int

  @nn.compact
  def __call__(self, x):
    return nn.relu(nn.Conv(self.width, (3, 3), name="conv")(x))


class Matcher(nn.Module):
  """A stereo pair float[B, h, w, 3] twice -> (disparity float[B, h, w] in pixels, features)."""

  width: int

  @nn.compact
  def __call__(self, left, right):
    stem = Stem(self.width, name="stem")
    feature = jnp.concatenate([stem(left), stem(right)], -1)
    return 8 * nn.sigmoid(nn.Conv(1, (3, 9), name="head")(feature)[..., 0]), feature


class Critic(nn.Module):
  """What error a disparity is expected to have, float[B, h, w]."""

  @nn.compact
  def __call__(self, left, disparity):
    x = jnp.concatenate([left, disparity[..., None]], -1)
    return nn.softplus(nn.Conv(1, (3, 3), name="conv")(x)[..., 0])


class Segmenter(nn.Module):
  """Colour and events of one window and the memory -> (logits, inverse depth, memory)."""

  width: int

  @nn.compact
  def __call__(self, rgb, events, memory, train=False):
    x = [Stem(self.width, name="stem")(rgb), Stem(self.width, name="events")(events), memory]
    x = nn.Conv(self.width, (3, 3), name="mix")(jnp.concatenate(x, -1))
    memory = jnp.tanh(nn.BatchNorm(not train, axis_name=AXIS if train else None, name="norm")(x))
    return (
      nn.Conv(CLASSES, (1, 1), name="head")(memory),
      nn.Conv(1, (1, 1), name="depth")(memory)[..., 0],
      memory,
    )


def create(config) -> train_state.Recipe:
  """The recipe of a config of the toy system."""
  return {"stereo": _stereo, "segment": _segment}[config.stage](config)


def _spec(config, names):
  h, w = config.data.height, config.data.width
  known = {
    "rgb": ((h, w, 3), jnp.uint8),
    "rgb_right": ((h, w, 3), jnp.uint8),
    "events": ((h, w, toy_data.BINS, 2), jnp.uint8),
    "label": ((h, w), jnp.uint8),
    "attention": ((h, w), jnp.uint8),
    "intrinsics": ((3, 3), jnp.float32),
    "baseline": ((), jnp.float32),
    "reset": ((), jnp.bool_),
  }
  return {name: jax.ShapeDtypeStruct(*known[name]) for name in names}


def _rgb(rgb):
  return rgb.astype(jnp.float32) / 255


def _optimiser(rate):
  return optim.adam([optim.Group(rate)])


# Stage stereo


def photometric(disparity, batch):
  """float[B, h, w]: how far the left picture is from the right one moved by a disparity in pixels.

  With the partner to the left everything moves the other way.
  """
  sign = jnp.sign(batch["baseline"])[:, None, None]
  moved = warp.warp_by_disparity(_rgb(batch["rgb_right"]), sign * disparity)
  return jnp.abs(moved - _rgb(batch["rgb"])).mean(-1)


def depth_of(disparity, batch):
  """float[B, h, w] metres: focal length times baseline over disparity."""
  scale = batch["intrinsics"][:, 0, 0] * jnp.abs(batch["baseline"])
  return scale[:, None, None] / jnp.maximum(disparity, NEAREST)


def _stereo(config):
  networks = {"matcher": Matcher(config.model.width), "critic": Critic()}
  matcher, critic = networks.values()
  transforms = {
    "matcher": _optimiser(config.optim.rate),
    "critic": _optimiser(config.optim.second_rate),
  }
  names = ("rgb", "rgb_right", "intrinsics", "baseline")
  size = (1, config.data.height, config.data.width)

  def init(key, parents):
    del parents
    params = {
      "matcher": models.init(matcher, key, (*size, 3), (*size, 3))["params"],
      "critic": models.init(critic, jax.random.fold_in(key, 1), (*size, 3), size)["params"],
    }
    opt_state = {name: transforms[name].init(params[name]) for name in params}
    return train_state.TrainState(jnp.zeros((), jnp.int32), params, {}, opt_state)

  def see(params, batch):
    disparity, feature = matcher.apply(
      {"params": params["matcher"]}, _rgb(batch["rgb"]), _rgb(batch["rgb_right"])
    )
    expected = critic.apply({"params": params["critic"]}, _rgb(batch["rgb"]), disparity)
    return disparity, expected, feature

  def train_step(state, batch, key):
    batch = inputs.random_flip(key, batch)

    def match(params):
      disparity, _, _ = see({**state.params, "matcher": params}, batch)
      error = photometric(disparity, batch)
      return pooled.masked_mean(error, jnp.ones(error.shape, bool), AXIS), ({}, error)

    def judge(params):
      _, expected, _ = see({**state.params, "critic": params}, batch)
      wrong = jnp.abs(expected - jax.lax.stop_gradient(error))
      return pooled.masked_mean(wrong, jnp.ones(wrong.shape, bool), AXIS), ({}, None)

    params, opt_state = dict(state.params), dict(state.opt_state)
    params["matcher"], opt_state["matcher"], metrics, error = optim.step(
      transforms["matcher"], match, params["matcher"], opt_state["matcher"]
    )
    params["critic"], opt_state["critic"], more, _ = optim.step(
      transforms["critic"], judge, params["critic"], opt_state["critic"], prefix="critic/"
    )
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return state, metrics | more

  def predict(variables, batch, carry=()):
    disparity, expected, _ = see(variables["params"], batch)
    return {"depth": depth_of(disparity, batch), "uncertainty": expected}, carry

  def inspect(variables, batch, carry=()):
    found, carry = predict(variables, batch, carry)
    return found | {"feature": see(variables["params"], batch)[2]}, carry

  def score(variables, batch):
    disparity, _, _ = see(variables["params"], batch)
    error = photometric(disparity, batch).mean((1, 2))
    return {"photometric": (jnp.where(batch["mask"], error, 0).sum(), batch["mask"].sum())}

  def measure(variables, parts, batch, number):
    del number
    disparity, expected, _ = see(variables["params"], batch)
    other, _, _ = see({**variables["params"], "matcher": parts["last"]}, batch)
    return {
      "depth": depth_of(disparity, batch),
      "critic": expected,
      "change": jnp.abs(disparity - other),
    }

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=predict,
    variables=lambda state: {"params": state.params, "batch_stats": {}},
    inputs=names,
    batch_spec=lambda: _spec(config, names),
    networks=networks,
    metric=("photometric", "min"),
    score=score,
    inspect=inspect,
    uncertainty=train_state.Uncertainty({"last": ("params", "matcher")}, measure),
  )


# Stage segment


def _segment(config):
  module = Segmenter(config.model.width)
  transforms = {
    "network": _optimiser(config.optim.rate),
    "depth": _optimiser(config.optim.second_rate),
  }
  h, w = config.data.height, config.data.width
  size = (1, h, w)

  def teacher():
    """predict of the parent's recipe, also where its weights are a checkpoint's."""
    named = copy.deepcopy(config)
    named.parents.teacher.checkpoint = None
    parent = grammar.parent(named, "teacher")
    parent = grammar.resolve_durations(parent, parent.data.batch_size)
    return recipes.create(parent, grammar.trusted(parent)).predict

  def init(key, parents):
    for role in ("teacher", "stem"):
      if role not in parents:
        raise errors.UserError(f"stage segment starts from parents.{role}; none was given")
    events = (*size, 2 * toy_data.BINS)
    variables = models.init(module, key, (*size, 3), events, (*size, config.model.width))
    params = variables["params"] | {"stem": parents["stem"]["params"]["matcher"]["stem"]}
    devices = jax.local_device_count()
    rows = config.data.batch_size // jax.device_count()
    return train_state.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=variables["batch_stats"],
      opt_state={
        "network": transforms["network"].init(params),
        "depth": transforms["depth"].init(params["depth"]),
      },
      frozen={"teacher": parents["teacher"]},
      local={"memory": jnp.zeros((devices, rows, h, w, config.model.width))},
    )

  def see(variables, batch, memory, **options):
    if "reset" in batch:
      memory = jnp.where(batch["reset"][:, None, None, None], 0, memory)
    events = batch["events"].astype(jnp.float32)
    events = events.reshape(*events.shape[:3], -1)
    return module.apply(variables, _rgb(batch["rgb"]), events, memory, **options)

  def train_step(state, batch, key):
    del key
    memory = state.local["memory"]
    imitated = teacher()(state.frozen["teacher"], {"rgb": batch["rgb"]}, ())[0]["depth"]
    imitated = 1 / jax.image.resize(imitated, (len(imitated), h, w), "nearest")

    def classes(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      (logits, _, after), updates = see(
        variables, batch, memory, train=True, mutable=["batch_stats"]
      )
      known = batch["label"] != fields.FIELDS["label"].unknown
      label = jnp.where(known, batch["label"], 0)
      wrong = -jnp.take_along_axis(jax.nn.log_softmax(logits), label[..., None], -1)[..., 0]
      loss = pooled.masked_mean(batch["attention"] * wrong, known, AXIS)
      right = ((logits.argmax(-1) == label) & known).sum()
      parts = {"accuracy": (right, known.sum())}
      return loss, (parts, (after, updates["batch_stats"]))

    def depth(params):
      variables = {"params": {**state.params, "depth": params}, "batch_stats": state.batch_stats}
      _, inverse, _ = see(variables, batch, memory)
      wrong = jnp.abs(inverse - imitated)
      mean = pooled.masked_mean(wrong, jnp.ones(wrong.shape, bool), AXIS)
      return config.loss.auxiliary * mean, ({}, None)

    params, opt_state = state.params, dict(state.opt_state)
    params, opt_state["network"], metrics, (after, stats) = optim.step(
      transforms["network"], classes, params, opt_state["network"]
    )
    head, opt_state["depth"], more, _ = optim.step(
      transforms["depth"], depth, state.params["depth"], opt_state["depth"], prefix="depth/"
    )
    metrics |= more | {"memory": (jnp.abs(memory).sum(), memory.size)}
    state = state.replace(
      step=state.step + 1,
      params={**params, "depth": head},
      batch_stats=jax.lax.pmean(stats, AXIS),
      opt_state=opt_state,
      local={"memory": after},
    )
    return state, metrics

  def predict(variables, batch, carry=()):
    shape = (*batch["rgb"].shape[:3], config.model.width)
    memory = jnp.zeros(shape) if isinstance(carry, tuple) else carry
    logits, _, memory = see(variables, batch, memory)
    return {"logits": logits}, memory

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=predict,
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=("rgb", "events"),
    batch_spec=lambda: _spec(config, ("rgb", "events", "label", "attention", "reset")),
    networks={"segmenter": module},
    metric=("miou", "max"),
    fields={"attention": ATTENTION},
  )
