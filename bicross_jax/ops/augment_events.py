"""Augmentation of event counts: events that are lost, and time that runs backwards.

As StereoSpike's `data_augmentation`, corrected: both cameras lose their own events, and reversed time
has the depth at the other end of the window. Flips are `ops.inputs.random_flip`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def drop(key: jax.Array, events: jax.Array, *, share: float, most: float = 0.4) -> jax.Array:
  """Empties cells of the counts of some examples (EventDrop, Gu et al. 2021, on counts).

  Args:
    key: PRNG key.
    events: counts [B, H, W, T, C].
    share: probability that an example loses cells.
    most: the share of cells that it loses is drawn uniformly from 0 to this.

  Returns:
    The same shape and dtype.
  """
  which, how_many, cells = jax.random.split(key, 3)
  rows = (len(events), 1, 1, 1, 1)
  lost = jax.random.uniform(how_many, rows, maxval=most)
  lost = jnp.where(jax.random.bernoulli(which, share, rows), lost, 0)
  return jnp.where(jax.random.uniform(cells, events.shape) < lost, 0, events)


def reverse_time(
  key: jax.Array, batch: Mapping[str, jax.Array], *, share: float
) -> dict[str, jax.Array]:
  """Lets time run backwards in some examples: what became brighter becomes darker.

  The bins come in reverse order, ON and OFF change places, and so do `depth` and `depth_before`. An
  example without any known `depth_before` stays as it is.

  Args:
    key: PRNG key.
    batch: with `events` [B, H, W, T, C], C even (ON, OFF of each camera), and `depth`,
      `depth_before` float32[B, H, W].
    share: probability that an example is reversed.

  Returns:
    The batch, with other values of these three fields.
  """
  events, after, before = batch["events"], batch["depth"], batch["depth_before"]
  flip = jax.random.bernoulli(key, share, (len(events),)) & (before > 0).any((1, 2))
  pairs = events[:, :, :, ::-1].reshape(*events.shape[:-1], -1, 2)[..., ::-1]
  maps = flip[:, None, None]
  return {
    **batch,
    "events": jnp.where(flip[:, None, None, None, None], pairs.reshape(events.shape), events),
    "depth": jnp.where(maps, before, after),
    "depth_before": jnp.where(maps, after, before),
  }
