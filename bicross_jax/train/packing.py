"""Trees with their small leaves end to end, so that elementwise work needs few kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

SMALL = 1 << 16  # elements of a leaf that is joined with others


def join(leaves: Sequence[jax.Array]) -> tuple[list[jax.Array], Callable[[list], list]]:
  """The leaves with at most `SMALL` elements as one vector.

  Args:
    leaves: arrays of any shapes.

  Returns:
    (joined, part): joined is the vector, where there is any small leaf, then the others as they
    are; part takes arrays like joined and returns arrays like leaves, in their order.
  """
  few = [x.size <= SMALL for x in leaves]
  vector, split = ravel_pytree([x for x, small in zip(leaves, few, strict=True) if small])
  joined = [vector] if any(few) else []
  joined += [x for x, small in zip(leaves, few, strict=True) if not small]

  def part(joined):
    large = iter(joined[any(few) :])
    small = iter(split(joined[0]) if any(few) else ())
    return [next(small if is_small else large) for is_small in few]

  return joined, part


def pack(tree: Any, groups: Sequence[str | None]) -> tuple[dict[str, list], Callable[[dict], Any]]:
  """A tree by groups, the leaves of each joined.

  Args:
    tree: a pytree of arrays.
    groups: the group of every leaf, in the order of `jax.tree.leaves`; None: left out.

  Returns:
    (packed, unpack): packed is {group: `join` of its leaves}; unpack takes such a dict and returns
    a tree like the given one, with zeros for what was left out.
  """
  leaves, structure = jax.tree.flatten(tree)
  of = lambda name: [x for x, group in zip(leaves, groups, strict=True) if group == name]
  joined = {name: join(of(name)) for name in dict.fromkeys(groups) if name is not None}

  def unpack(packed):
    own = {name: iter(part(packed[name])) for name, (_, part) in joined.items()}
    pairs = zip(leaves, groups, strict=True)
    return structure.unflatten(jnp.zeros_like(x) if g is None else next(own[g]) for x, g in pairs)

  return {name: arrays for name, (arrays, _) in joined.items()}, unpack
