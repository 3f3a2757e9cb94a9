"""Metrics of the steps since the last log line, kept on the devices; and where they diverged."""

from collections.abc import Mapping
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors
from bicross_jax.train import packing
from bicross_jax.train.state import Metrics


@struct.dataclass
class Window:
  """Sums over the steps since the last log line.

  Attributes:
    metrics: name -> (sum, count), added up.
    first_bad: what is watched -> int32[], the first step after which it was not finite; 0: none.
  """

  metrics: Metrics
  first_bad: dict[str, jax.Array]


def empty(metrics: Metrics, watched: Mapping[str, Any]) -> Window:
  """A window without steps.

  Args:
    metrics: arrays or their shapes (anything with `shape` and `dtype`).
    watched: name -> pytree that is to stay finite besides the metrics.
  """
  sums = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), dict(metrics))
  return Window(sums, {name: np.zeros((), np.int32) for name in [*metrics, *watched]})


def add(window: Window, metrics: Metrics, watched: Mapping[str, Any], step: jax.Array) -> Window:
  """The window with one more step; a pure function, to be jitted.

  Args:
    window: so far.
    metrics: of this step, the same names.
    watched: name -> pytree of arrays after this step.
    step: int32[], number of the step, from 1.
  """

  def first(seen, tree):
    finite = [jnp.all(jnp.isfinite(x)) for x in packing.join(jax.tree.leaves(tree))[0]]
    bad = ~jnp.all(jnp.stack(finite)) if finite else jnp.zeros((), bool)
    return jnp.where((seen == 0) & bad, step, seen).astype(jnp.int32)

  looked_at = {**metrics, **watched}
  return Window(
    jax.tree.map(jnp.add, window.metrics, dict(metrics)),
    {name: first(seen, looked_at[name]) for name, seen in window.first_bad.items()},
  )


def means(metrics: Metrics) -> dict[str, Any]:
  """Sum / count of every metric in host memory; a metric that counted nothing is out.

  Returns:
    name -> float, or an array where the sum is one.
  """
  out = {}
  for name, (total, count) in metrics.items():
    if np.all(count == 0):
      continue
    value = np.asarray(total, np.float64) / np.asarray(count, np.float64)
    out[name] = float(value) if value.ndim == 0 else value
  return out


def diverged(window: Window) -> tuple[list[str], int] | None:
  """What was first not finite, and after which step; None if everything is (host memory)."""
  bad = {name: int(step) for name, step in window.first_bad.items() if step}
  if not bad:
    return None
  first = min(bad.values())
  return sorted(name for name, step in bad.items() if step == first), first


def to_json(window: Window) -> dict[str, list]:
  """The sums of a finite window in host memory, in a form that JSON keeps exactly."""
  return {
    name: [np.asarray(total).tolist(), np.asarray(count).tolist()]
    for name, (total, count) in window.metrics.items()
  }


def from_json(sums: Mapping[str, list], like: Window) -> Window:
  """The window that `to_json` wrote, with the dtypes of `like`.

  Raises:
    errors.UserError: other metrics than those of `like`, in name or shape.
  """
  try:
    metrics = {
      name: tuple(
        np.asarray(value, x.dtype).reshape(x.shape)
        for value, x in zip(sums[name], pair, strict=True)
      )
      for name, pair in like.metrics.items()
    }
    if len(sums) == len(metrics):
      return like.replace(metrics=metrics)
  except (KeyError, TypeError, ValueError):
    pass
  raise errors.UserError(
    f"the metrics of the checkpoint ({', '.join(sorted(sums))}) are not those of this step "
    f"({', '.join(sorted(like.metrics))}): another version?"
  )
