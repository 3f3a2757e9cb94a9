"""Every stage of StereoSpike: a network of spiking neurons, or its like, learns depth from labels."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bicross_jax.losses import masks, pooled, residual
from bicross_jax.ops import augment_events, collective, inputs, label_space
from bicross_jax.recipes.stereospike import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

NEAREST = 1e-3  # metres; what is predicted nearer, or behind the camera, is predicted there
PENALISED = ("bottleneck_1", "add4", "add3", "add2", "add1")  # tensors of the spike penalty


def create(config) -> train_state.Recipe:
  """The recipe of a config of StereoSpike (docs/systems/stereospike.md).

  The network of `config.model` sees events or spikes and learns depth at the end of their window,
  in the label space `config.labels`. Batch fields: that modality and `depth`; with reversed time
  also `depth_before`. With `data.sequence` the potentials go on from window to window: gradients
  reach back to the beginning of a window (truncated backpropagation through time).
  """
  module = common.network(config)
  transform = optim.single(config.optim, config.train.steps)
  stateful = common.is_stateful(config)

  def see(variables, batch, state=None, **options):
    """The network's output; rows whose `reset` is True begin anew."""
    if state is not None and "reset" in batch:
      state = common.fresh(state, batch["reset"])
    return module.apply(variables, common.network_input(config, batch), state, **options)

  def init(key, parents):
    del parents
    variables = common.initialise(config, module, key)
    return optim.begin(
      transform, variables, local=_memory(config, see, variables) if stateful else {}
    )

  def train_step(state, batch, key):
    batch = augmented(config, key, batch)
    memory = state.local["potentials"] if stateful else None

    def loss_fn(params):
      variables = {"params": params, "batch_stats": state.batch_stats}
      output, updates = see(variables, batch, memory, train=True, mutable=["batch_stats"])
      parts = losses(config, output, batch["depth"])
      told = parts | densities(output.activity)
      return sum(parts.values()), (told, (updates.get("batch_stats", {}), output.state))

    params, opt_state, metrics, (stats, after) = optim.step(
      transform, loss_fn, state.params, state.opt_state
    )
    return state.replace(
      step=state.step + 1,
      params=params,
      opt_state=opt_state,
      batch_stats=collective.mean(stats, AXIS),
      local={"potentials": after} if stateful else {},
    ), metrics

  def inspect(variables, batch, carry=()):
    output = see(variables, batch, carry if jax.tree.leaves(carry) else None)
    depth = jnp.maximum(label_space.decode(common.labels(config), output.depth), NEAREST)
    feature = output.activity["add1"][-1]
    return {"depth": depth, "feature": feature}, output.state if stateful else carry

  def predict(variables, batch, carry=()):
    out, carry = inspect(variables, batch, carry)
    return {"depth": out["depth"]}, carry

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=predict,
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    inputs=(config.input.modality,),
    batch_spec=lambda: batch_spec(config),
    networks={config.model.name: module},
    metric=("mde", "min"),
    inspect=inspect,
    camera=train_state.Camera(),
  )


def losses(config, output, depth: jax.Array) -> dict[str, jax.Array]:
  """The parts of the loss, float32[] each, pooled over the devices; the loss is their sum.

  Args:
    config: its sections `loss` and `labels`.
    output: of the network; its maps count at the last time step.
    depth: float32[B, H, W] metres, 0 where unknown.
  """
  loss = config.loss
  valid = masks.valid(depth, min_depth=loss.min_depth, max_depth=loss.max_depth, crop="none")
  parts = residual.several(
    [maps[-1] for maps in output.depths],
    label_space.encode(common.labels(config), depth),
    valid,
    weights=(1.0,) * len(output.depths),
    gradient=loss.gradient,
    constant=loss.absolute,
    axis_name=AXIS,
  )
  parts = {f"{name}_loss": value for name, value in parts.items()}
  if loss.activity:
    spikes = {name: x for name, x in output.activity.items() if name in PENALISED}
    parts["activity_loss"] = loss.activity * residual.activity(spikes, AXIS)
  return parts


def densities(activity: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Shares of the entries that are not 0: of all tensors, "density", and the least of any.

  A least density of 0 is a dead layer.
  """
  share = lambda x: pooled.masked_mean((x != 0).astype(jnp.float32), jnp.ones(x.shape, bool), AXIS)
  shares = jnp.stack([share(jax.lax.stop_gradient(x)) for x in activity.values()])
  return {"density": shares.mean(), "least_density": shares.min()}


def augmented(config, key: jax.Array, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """The batch, augmented as `config.augment` says; each at its own share of the examples."""
  aug, batch = config.augment, dict(batch)
  keys = jax.random.split(key, 4)
  if aug.horizontal:
    batch = inputs.random_flip(keys[0], batch, share=aug.horizontal)
  if aug.vertical:
    batch = inputs.random_flip(keys[1], batch, share=aug.vertical, vertical=True)
  if aug.reverse_time:
    batch = augment_events.reverse_time(keys[2], batch, share=aug.reverse_time)
  if aug.drop:
    batch["events"] = augment_events.drop(keys[3], batch["events"], share=aug.drop)
  return batch


def batch_spec(config) -> dict[str, jax.ShapeDtypeStruct]:
  """The fields of a training batch, shapes and dtypes of one example."""
  names = ["depth", "events" if config.input.modality == "events" else "spike"]
  names += ["depth_before"] if config.augment.reverse_time else []
  names += ["reset"] if common.is_stateful(config) else []
  return train_state.example(config.data, *names)


def _memory(config, see, variables):
  """Potentials at rest for the rows of each local device, the device on axis 0."""
  rows = config.data.batch_size // jax.device_count()
  spec = {name: jnp.zeros((rows, *s.shape), s.dtype) for name, s in batch_spec(config).items()}
  state = jax.eval_shape(lambda: see(variables, spec).state)
  devices = jax.local_device_count()
  zeros = lambda x: jnp.zeros((devices, *x.shape), x.dtype)
  return {"potentials": jax.tree.map(zeros, state)}
