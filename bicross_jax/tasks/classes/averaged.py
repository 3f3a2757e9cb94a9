"""Probabilities of classes, averaged over several scales of the input and its mirror image."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from bicross_jax import fields
from bicross_jax.ops import resize

PLAIN = (1.0, False)  # the scale, and whether the input is mirrored
LEAST = 1e-30  # probability; its logarithm is a number


def predictor(predict, scales: Sequence[float], flip: bool, own: Mapping[str, fields.Field]):
  """A predictor whose "logits" are the logarithm of mean probabilities.

  As EvDistill tests (`MscEval` of its repository): the input is resized to (int(scale H), int(scale W)), and
  the logits back, before the softmax, both bilinearly with the corners aligned. The mirrored input is given to the
  same network, and its answer mirrored back. Every scale and mirror image has a memory of its own.

  Args:
    predict: (batch, carry) -> ({"logits": float32[B, h, w, K], ...}, carry). One that gives no logits has no
      probabilities, and answers as it is.
    scales: of the input, over its own size.
    flip: whether the mirrored input counts, too.
    own: fields that the recipe declares.

  Returns:
    The same kind of function; what is not "logits" is of the plain input. Nothing is fetched.
  """
  every = [(scale, mirrored) for scale in scales for mirrored in (False, True)[: 1 + flip]]
  others = [variant for variant in every if variant != PLAIN]

  def average(batch, carry):
    first, *memories = carry or ((),) * (1 + len(others))
    plain, first = predict(batch, first)
    if "logits" not in plain:
      return plain, (first, *memories)
    size, after = plain["logits"].shape[1:3], []
    total = every.count(PLAIN) * probabilities(plain["logits"], size)
    for (scale, mirrored), memory in zip(others, memories, strict=True):
      found, memory = predict(seen(batch, scale, mirrored, own), memory)
      logits = found["logits"][:, :, ::-1] if mirrored else found["logits"]
      total = total + probabilities(logits, size)
      after.append(memory)
    logits = jnp.log(jnp.maximum(total / len(every), LEAST))
    return {**plain, "logits": logits}, (first, *after)

  return average


def probabilities(logits, size: tuple[int, int]) -> jax.Array:
  """The softmax of logits float32[B, h, w, K] that are resized to a size, (H, W)."""
  return jax.nn.softmax(resize.bilinear_corners(jnp.asarray(logits), size), axis=-1)


def seen(batch, scale: float, mirrored: bool, own: Mapping[str, fields.Field]) -> dict:
  """A batch at another scale, or as if the scene had been mirrored.

  Smooth maps (`fields.Field`) become float32; of others the nearest pixels are taken; what is no map is that of the resized maps.
  """
  (one, *_) = fields.maps(batch, own)
  height, width = batch[one].shape[1:3]
  size = int(scale * height), int(scale * width)
  out = {}
  for name, x in batch.items():
    field = fields.get(name, own)
    if size != (height, width):
      x = _resized(field, x, (height, width), size)
    out[name] = fields.mirror(field, x, size[1]) if mirrored else x
  return out


def _resized(field, x, old, new):
  if field.kind != "map":
    return fields.resize(field, x, new[0] / old[0], new[1] / old[1])
  if field.smooth:
    return resize.bilinear_corners(jnp.asarray(x, jnp.float32), new)
  flat = jnp.reshape(jnp.asarray(x), (*x.shape[:3], -1))
  return resize.nearest(flat, new).reshape(len(x), *new, *x.shape[3:])
