"""Fresh variables of any network, from one draw.

`module.init` makes variables of the same shapes, drawn layer by layer. XLA compiles every such draw
for itself, which takes 8 s on a CPU even for a small DPT and a minute on a GPU; one draw, cut into
pieces, takes less than one.

What a variable starts as follows from its path, by pairs of a regular expression and an
`Initialiser`; the first pair whose expression is found in the path ("params/a/kernel") counts. A
network puts pairs of its own in front of `RULES` as the class attribute `INITIALISERS`.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
import re
from typing import Any, NamedTuple

from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_TRUNCATED = 0.87962566  # deviation of a unit normal cut off at two deviations
_INSIDE = math.erf(math.sqrt(2))  # share of a normal within two deviations

Size = float | Callable[[tuple[int, ...]], float]  # a number, or a function of the shape


class Initialiser(NamedTuple):
  """What the numbers of a variable start as; made by `constant`, `normal`, `truncated_normal` or
  `uniform`.

  Attributes:
    kind: of these four.
    size: constant, deviation or bound; a function is given the shape of the variable.
    of: name of the variable beside it whose shape is given instead, a bias's "kernel".
    middle: what the numbers lie around.
  """

  kind: str
  size: Size
  of: str = ""
  middle: float = 0.0


def constant(value: float) -> Initialiser:
  """All numbers are `value`."""
  return Initialiser("constant", value)


def truncated_normal(deviation: Size) -> Initialiser:
  """Normal, cut off at two deviations and widened so that `deviation` is what is left."""
  return Initialiser("truncated_normal", deviation)


def normal(deviation: Size) -> Initialiser:
  """Normal with mean 0."""
  return Initialiser("normal", deviation)


def uniform(bound: Size, of: str = "", middle: float = 0.0) -> Initialiser:
  """Uniform in middle - bound..middle + bound; `of` as in `Initialiser`."""
  return Initialiser("uniform", bound, of, middle)


def fan_in(shape: tuple[int, ...]) -> int:
  """How many numbers a kernel [..., in, out] adds up."""
  return math.prod(shape[:-1])


def fan_out(shape: tuple[int, ...]) -> int:
  """How many results every input of a kernel [..., in, out] goes to."""
  return math.prod(shape[:-2]) * shape[-1]


Rules = Sequence[tuple[str, Initialiser]]


def _narrowing(shape):
  return 1 / math.sqrt(fan_in(shape))


# Convolutions as PyTorch starts them, with biases; norms are not meant.
TORCH: Rules = (
  (r"/kernel$", uniform(_narrowing)),
  (r"^(?!.*norm[^/]*/bias$).*/bias$", uniform(_narrowing, of="kernel")),
)
RULES: Rules = (
  (r"/kernel$", truncated_normal(_narrowing)),
  (r"/(cls_token|pos_embed)$", truncated_normal(0.02)),
  (r"/bias$", constant(0.0)),
  (r"/scale$", constant(1.0)),  # of a norm
  (r"/mean$", constant(0.0)),  # running statistics
  (r"/var$", constant(1.0)),
  (r"/negative_slope$", constant(0.25)),  # of a PReLU (He et al. 2015)
  # Of a parametric LIF neuron (Fang et al. 2021): 1 / tau = sigmoid(w), tau = 2.
  (r"/w$", constant(0.0)),
)


def init(module: nn.Module, key: jax.Array, *shapes: tuple[int, ...]) -> dict[str, Any]:
  """Initialises a network.

  Args:
    module: the network.
    key: PRNG key.
    *shapes: shapes of the float32 arrays that the module takes.

  Returns:
    Its variables, by the network's own pairs and `RULES`.

  Raises:
    ValueError: variables that no pair fits; it lists them.
  """
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  leaves = traverse_util.flatten_dict(jax.eval_shape(module.init, key, *inputs), sep="/")
  rules = (*own_rules(module), *RULES)
  found = {path: next((i for p, i in rules if re.search(p, path)), None) for path in leaves}
  lost = [f"{path} {leaves[path].shape}" for path in leaves if found[path] is None]
  if lost:
    raise ValueError(f"no rule says how these are initialised: {', '.join(lost)}")
  sizes = {
    path: 0 if found[path].kind == "constant" else math.prod(leaf.shape)
    for path, leaf in leaves.items()
  }
  kinds = {found[path].kind for path in leaves if sizes[path]}
  numbers = {kind: _draw(key, sum(sizes.values()), kind) for kind in kinds}
  if not isinstance(key, jax.core.Tracer):  # XLA would compile the cutting of every piece
    numbers = jax.device_get(numbers)
  flat, start = {}, 0
  for path, leaf in leaves.items():
    (kind, size, of, middle), stop = found[path], start + sizes[path]
    judged = leaves[f"{path.rpartition('/')[0]}/{of}"] if of else leaf
    size = np.float32(size(judged.shape) if callable(size) else size)
    own = numbers[kind][start:stop].reshape(leaf.shape) if sizes[path] else np.ones(leaf.shape)
    flat[path], start = jnp.asarray(own * size + np.float32(middle), jnp.float32), stop
  return traverse_util.unflatten_dict(flat, sep="/")


def own_rules(module: nn.Module) -> Rules:
  """The pairs of a network and then of the networks it is made of."""
  parts = [getattr(module, f.name, None) for f in dataclasses.fields(module) if f.name != "parent"]
  inner = [rule for part in parts if isinstance(part, nn.Module) for rule in own_rules(part)]
  return (*getattr(module, "INITIALISERS", ()), *inner)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _draw(key, count, kind):
  """float32[count] of deviation 1, or uniform in -1..1: the same for every kind, but for its form."""
  x = jax.random.truncated_normal(key, -2, 2, (count,))
  if kind == "truncated_normal":
    return x / _TRUNCATED
  level = jax.scipy.special.erf(x / math.sqrt(2)) / _INSIDE
  if kind == "uniform":
    return level
  edge = 1 - 2**-24
  return math.sqrt(2) * jax.scipy.special.erfinv(jnp.clip(level, -edge, edge))
