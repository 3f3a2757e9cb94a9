"""Fresh variables of any network of this package, from one draw.

`module.init` makes the same variables, drawn layer by layer. XLA compiles every such draw for
itself, which takes 20 s on a CPU even for the smallest DPT; one draw, cut into pieces, takes
less than 2 s. What a variable starts as follows from its name alone.
"""

import functools
import math
from typing import Any

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp

_CONSTANT = {"bias": 0.0, "scale": 1.0, "mean": 0.0, "var": 1.0}
_POSITION = ("cls_token", "pos_embed")
_TRUNCATED = 0.87962566  # deviation of a unit normal cut off at two deviations


def init(module: nn.Module, key: jax.Array, *shapes: tuple[int, ...]) -> dict[str, Any]:
  """Initialises a network.

  Args:
    module: the network.
    key: PRNG key.
    *shapes: shapes of the float32 arrays that the module takes.

  Returns:
    Its variables: kernels from a normal cut off at two deviations, with variance 1 / fan_in;
    class tokens and positions from one with deviation 0.02; norms and their running statistics
    as the identity; biases zero.

  Raises:
    ValueError: a variable of a name that stands for none of these.
  """
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  leaves = traverse_util.flatten_dict(jax.eval_shape(module.init, key, *inputs), sep="/")
  for path in leaves:
    name = path.rsplit("/", 1)[-1]
    if name not in _CONSTANT and name not in _POSITION and name != "kernel":
      raise ValueError(f"no rule says how {path} {leaves[path].shape} is initialised")
  flat = _draw(key, tuple((path, leaf.shape) for path, leaf in leaves.items()))
  return traverse_util.unflatten_dict(flat, sep="/")


@functools.partial(jax.jit, static_argnums=1)
def _draw(key, leaves):
  """{path: array} for the given (path, shape) pairs."""
  deviations = {path: _deviation(path, shape) for path, shape in leaves}
  total = sum(math.prod(shape) for path, shape in leaves if deviations[path])
  noise = jax.random.truncated_normal(key, -2, 2, (total,)) / _TRUNCATED
  flat, start = {}, 0
  for path, shape in leaves:
    if deviations[path]:
      stop = start + math.prod(shape)
      flat[path], start = (noise[start:stop] * deviations[path]).reshape(shape), stop
    else:
      flat[path] = jnp.full(shape, _CONSTANT[path.rsplit("/", 1)[-1]])
  return flat


def _deviation(path, shape):
  """The standard deviation of a leaf; 0 for those that start constant."""
  name = path.rsplit("/", 1)[-1]
  if name in _POSITION:
    return 0.02
  return 1 / math.sqrt(math.prod(shape[:-1])) if name == "kernel" else 0.0
