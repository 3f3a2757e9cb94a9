"""What flows through training: the state pytree and the contract of a recipe."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import struct
import jax

AXIS = "batch"  # the name of the device axis that every train_step runs under

Batch = Mapping[str, Any]  # field -> array [B, ...], or stream -> such a dict
Variables = Mapping[str, Any]  # {"params": ..., "batch_stats": ...}

# name -> (sum, count). The rule: both are this device's share (sums over its rows), or both are
# of values that are equal on all devices already, as a loss pooled over the axis: (value, 1).
# `devices.pmap_step` sums each over the devices, once; sum / count is then right for either.
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


class Initial(NamedTuple):
  """Variables that the loop has loaded for a recipe to start from.

  Attributes:
    init_from: variables of the checkpoint the run starts from, or None.
    teacher: variables of a frozen teacher, or None.
  """

  init_from: Variables | None = None
  teacher: Variables | None = None


class Recipe(NamedTuple):
  """What one stage of one system trains: pure functions over pytrees (DESIGN section 4).

  Attributes:
    init: (key, Initial or None) -> TrainState. Runs once, not traced; also when a run is
      resumed, for the shapes.
    train_step: (state, batch, key) -> (state, metrics). Runs under the mapped axis `AXIS`;
      the key already differs by step and by device. Gradients are averaged inside; `step` goes
      up by one.
    predict: (variables, batch) -> {"depth": float32[B, h, w], ...} for any batch that has the
      recipe's input fields. Runs without a mapped axis.
    variables: state -> what a checkpoint publishes, {"params", "batch_stats"}.
    on_validation: (state, {name: value}) -> state. After every validation but that at step 0.
    metric: the validation metric that "best" refers to and "min" or "max"; or "last": the metric
      is only shown, and the last validated checkpoint counts as the best.
    batch_spec: () -> {field: jax.ShapeDtypeStruct of one example}, or a dict of such dicts by
      stream ("source", "target").
    module: the linen module that the published variables belong to.
    publishes: whose they are, "student" or "teacher" (kept in a checkpoint's meta as `which`).
  """

  init: Callable[[jax.Array, Initial | None], TrainState]
  train_step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
  predict: Callable[[Variables, Batch], Mapping[str, jax.Array]]
  variables: Callable[[TrainState], Variables]
  on_validation: Callable[[TrainState, Mapping[str, float]], TrainState]
  metric: tuple[str, str]
  batch_spec: Callable[[], Mapping[str, Any]]
  module: Any = None
  publishes: str = "student"
