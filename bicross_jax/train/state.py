"""What flows through training: the state pytree and the contract of a recipe."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import struct
import jax

from bicross_jax import fields
from bicross_jax.fields import Field

AXIS = "batch"  # the name of the device axis that every train_step runs under

Batch = Mapping[str, Any]  # field -> array [B, ...], or stream -> such a dict
Variables = Mapping[str, Any]  # {"params": ..., "batch_stats": ...}
Predictions = Mapping[str, jax.Array]  # name -> array [B, ...]
Carry = Any  # a pytree; () for networks without memory

# name -> (sum, count). The rule: both are this device's share (sums over its rows), or both are
# of values that are equal on all devices already, as a loss pooled over the axis: (value, 1).
# `devices.parallel_step` sums each over the devices, once; sum / count is then right for either.
Metrics = dict[str, tuple[jax.Array, jax.Array]]


@struct.dataclass
class TrainState:
  """Everything a run needs to go on; one pytree of arrays.

  Attributes:
    step: int32[], number of train steps taken.
    params: what the optimiser trains.
    batch_stats: running statistics of the trained networks ({} where there are none).
    opt_state: the optimiser's state.
    teacher: EMA variables ({} where there is no teacher).
    frozen: variables of networks that only look on ({} where there are none).
    local: what differs from device to device; every leaf has the device on axis 0 (inside a
      train_step that axis is gone).

  A saved state is finite: every float leaf but those of `frozen`. Where "none yet" needs a number,
  it is a large finite one.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  teacher: Any = struct.field(default_factory=dict)
  frozen: Any = struct.field(default_factory=dict)
  local: Any = struct.field(default_factory=dict)


class Uncertainty(NamedTuple):
  """Measures of how far to trust a network, for `scripts/uncertainty.py`.

  Attributes:
    parts: {name: where it stands in the saved state}, {"student": ("params", "student")}.
    measure: (variables, parts, batch, number of the batch) -> the headline prediction and every
      measure, {name: float32[B, h, w]}; `parts` is {name: that part of the state}.
  """

  parts: Mapping[str, tuple[str, ...]]
  measure: Callable[[Variables, Mapping[str, Any], Batch, int], Predictions]


class Camera(NamedTuple):
  """The camera that a network of depth has learned metres of (`bicross_jax.cameras`).

  Attributes:
    metric: whether its depth is in metres, for that camera.
    focal: focal length over the width of what the network sees; 0: not known here.
    baseline: metres to the stereo partner it learned from; 0: not known here.
    whole: whether it sees pictures resized whole to a size of its own; False: their pixels as they are.
    width: pixels of what it saw in training, where it is not `whole`; else 0.
  """

  metric: bool = True
  focal: float = 0.0
  baseline: float = 0.0
  whole: bool = False
  width: int = 0


class Recipe(NamedTuple):
  """What one stage of one system trains: pure functions over pytrees (docs/architecture.md).

  Attributes:
    init: (key, parents) -> TrainState. `parents` is {role: variables} of what `config.parents`
      names; a role without a stage and a checkpoint is left out. Runs once, not traced; also when a run is
      resumed, for the shapes.
    train_step: (state, batch, key) -> (state, metrics). Runs under the mapped axis `AXIS`;
      the key already differs by step and by device. Gradients are averaged inside; `step` goes
      up by one.
    predict: (variables, batch, carry) -> (predictions, carry) for any batch that has `inputs`.
      Runs without a mapped axis. Predictions are {name: array [B, ...]}. Carry is what the network
      remembers of the windows before: () before the first batch, and always for networks without
      memory; rows whose `reset` is True begin anew.
    variables: state -> what a checkpoint publishes, {"params", "batch_stats"}.
    inputs: the fields that `predict` reads.
    batch_spec: () -> {field: jax.ShapeDtypeStruct of one example}, or a dict of such dicts by
      stream ("source", "target").
    networks: {name: linen module} that the published variables belong to. One network: its
      variables are the tree itself. Several: {"params": {name: ...}, "batch_stats": {name: ...}}.
    metric: the validation metric that "best" refers to and "min" or "max"; or "last": the metric
      is only shown, and the last validated checkpoint counts as the best.
    on_validation: (state, {name: value}) -> state. After every validation but that at step 0.
    score: (variables, batch) -> metrics, as (sum, count) pairs over the rows whose `mask` is True:
      validation without labels, in place of the task's metrics; None: the task judges.
    publishes: whose the variables are, "student" or "teacher" (kept in a checkpoint's meta as `which`).
    inspect: as `predict`, with what pictures show besides ("feature", float[B, h, w, C]; pictures, `viz.cells.MADE`);
      None: no more.
    uncertainty: measures of uncertainty that can be compared, or None.
    fields: fields of the recipe's own, besides `fields.FIELDS`.
    camera: of a network of depth; what it leaves open, the data set may say. None: nobody says.
    fixed: whether `predict` takes maps of sizes that suit the network alone; whoever has others resizes
      them whole to the size of `batch_spec`.
  """

  init: Callable[[jax.Array, Mapping[str, Variables]], TrainState]
  train_step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
  predict: Callable[[Variables, Batch, Carry], tuple[Predictions, Carry]]
  variables: Callable[[TrainState], Variables]
  inputs: tuple[str, ...]
  batch_spec: Callable[[], Mapping[str, Any]]
  networks: Mapping[str, Any]
  metric: tuple[str, str]
  on_validation: Callable[[TrainState, Mapping[str, float]], TrainState] = lambda state, _: state
  score: Callable[[Variables, Batch], Metrics] | None = None
  publishes: str = "student"
  inspect: Callable[[Variables, Batch, Carry], tuple[Predictions, Carry]] | None = None
  uncertainty: Uncertainty | None = None
  fields: Mapping[str, Field] = {}
  camera: Camera | None = None
  fixed: bool = False


def streams(batch_spec: Mapping[str, Any]) -> dict[str, Mapping[str, jax.ShapeDtypeStruct]]:
  """The streams of a `Recipe.batch_spec`: {name: its fields}; a single stream is named ""."""
  single = hasattr(next(iter(batch_spec.values())), "shape")
  return {"": batch_spec} if single else dict(batch_spec)


def example(section: Any, *names: str) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes and dtypes of fields of one example, for a `Recipe.batch_spec`.

  Args:
    section: of a config that names data. Maps are as large as it says; `steps` are of spikes, `bins` and
      `cameras` of events.
    *names: of `fields.FIELDS` (docs/architecture.md): maps, [H, W, ...]; intrinsics, [3, 3]; a baseline and
      `reset`, which are scalars.

  Raises:
    KeyError: there is no such field.
  """
  behind = {  # axes after those of pixels
    "rgb": lambda: (3,),
    "rgb_right": lambda: (3,),
    "event_image": lambda: (2,),
    "spike": lambda: (section.steps // 8,),
    "events": lambda: (section.bins, 2 * section.cameras),
  }
  out = {}
  for name in names:
    field = fields.get(name)
    shape = (3, 3) if field.kind == "intrinsics" else ()
    if field.kind == "map":
      shape = (section.height, section.width, *(behind[name]() if name in behind else ()))
    out[name] = jax.ShapeDtypeStruct(shape, field.dtypes[0])
  return out
