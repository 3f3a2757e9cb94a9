"""Post-processing of monocular depth by the mirrored input (Godard et al. 2017)."""

from collections.abc import Mapping

import numpy as np

from bicross_jax import fields

EDGE = 0.05  # of the width, at either side, where one of the two predictions stands alone
RAMP = 0.05  # of the width, over which the mean takes over


def flipped(predict, own: Mapping[str, fields.Field]):
  """A predictor that also sees the mirrored input.

  Both are averaged as disparities; at the left and right edge, where a network that learned from
  stereo pairs has not seen what it must say, the one that is better off there stands alone.

  Args:
    predict: (batch, carry) -> ({"depth": float32[B, h, w], ...}, carry).
    own: fields that the recipe declares.

  Returns:
    The same kind of function; what is not "depth" is of the plain input. Nothing is fetched.
  """

  def both(batch, carry):
    plain_carry, mirrored_carry = carry or ((), ())
    plain, plain_carry = predict(batch, plain_carry)
    mirrored, mirrored_carry = predict(mirror(batch, own), mirrored_carry)
    depth = blend(plain["depth"], mirrored["depth"][:, :, ::-1])
    return {**plain, "depth": depth}, (plain_carry, mirrored_carry)

  return both


def mirror(batch, own: Mapping[str, fields.Field]):
  """A batch with every field as if the scene had been mirrored (`fields.mirror`)."""
  (first, *_) = fields.maps(batch, own)
  width = batch[first].shape[2]
  return {name: fields.mirror(fields.get(name, own), x, width) for name, x in batch.items()}


def blend(plain, mirrored):
  """The mean of two predictions as disparities, with one of them alone at each edge.

  Args:
    plain, mirrored: float[B, h, w] metres of one view, NumPy's or JAX's.
  """
  across = np.linspace(0, 1, plain.shape[2], dtype=np.float32)
  left = (1 - np.clip((across - EDGE) / RAMP, 0, 1))[None, None]
  right = left[:, :, ::-1]
  mean = (1 / plain + 1 / mirrored) / 2
  return 1 / (right / plain + left / mirrored + (1 - left - right) * mean)
