"""Weights from one network to another: a spike stem out of an RGB stem, and grafting."""

from collections.abc import Mapping
import re
from typing import Any

from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors

Variables = Mapping[str, Any]

STEM = "params/backbone/resnet/stem/conv/kernel"
PATCHES = "params/backbone/patch_embed/kernel"


def inflate_stem(variables: Variables, in_channels: int, stem_bins: int = 0) -> dict[str, Any]:
  """The variables of an RGB `dpt` for a spike stream, by inflation of the first kernel.

  A pixel that fires at the constant rate r in 0..1 has the mean 2r - 1 in the -1/+1 code, which
  is what an RGB pixel of grey value r is after its normalisation. The new kernel is built so
  that such a stream gives the response of that grey image:

  - Plain patches: every channel gets the sum over RGB divided by the number of channels. The
    response is equal.
  - Hybrid: the stem standardises its kernel, so the average over RGB alone would blow up
    kernels that respond to colour and hardly to grey. With the mean m and the deviation s over
    RGB, m + s goes to the channels of the first half of the window and m - s to those of the
    second. Mean and variance of the whole kernel, and with them its standardisation, stay what
    they were; s cancels for a constant rate, and what is left is channels / 3 times the
    response to grey in every output, which the group norm behind it takes out.

  Args:
    variables: those of a `dpt` with in_channels=3.
    in_channels: channels of the spike stream; even where the stem is standardised.
    stem_bins: as in the network to be; the kernel then has that many input channels.

  Returns:
    A new tree that shares all other leaves.

  Raises:
    errors.UserError: no RGB stem there, or an odd number of channels for a standardised stem.
  """
  flat = traverse_util.flatten_dict(variables, sep="/")
  channels = stem_bins or in_channels
  path = STEM if STEM in flat else PATCHES
  if path not in flat or flat[path].ndim != 4 or flat[path].shape[2] != 3:
    found = flat[path].shape if path in flat else "nothing"
    raise errors.UserError(f"inflate_stem needs an RGB stem [k, k, 3, width]; {path} is {found}")
  kernel = jnp.asarray(flat[path])
  mean = kernel.mean(2, keepdims=True)
  if path == PATCHES:
    inflated = jnp.repeat(mean * (3 / channels), channels, axis=2)
  elif channels % 2:
    raise errors.UserError(f"inflate_stem needs an even number of channels, not {channels}")
  else:
    deviation = jnp.sqrt(((kernel - mean) ** 2).mean(2, keepdims=True))
    halves = [jnp.repeat(mean + sign * deviation, channels // 2, axis=2) for sign in (1, -1)]
    inflated = jnp.concatenate(halves, axis=2)
  return traverse_util.unflatten_dict({**flat, path: inflated}, sep="/")


def graft(
  fresh: Variables, source: Variables, keep: str = r"params/backbone/resnet/stem/.*"
) -> tuple[dict[str, Any], list[str]]:
  """Copies into a freshly initialised tree what another tree has under the same names.

  Args:
    fresh: variables of the network to be.
    source: variables of a trained one.
    keep: pattern of whole paths that stay fresh even where the source has them; the stem,
      unless told otherwise.

  Returns:
    (variables with the structure of `fresh`, sorted paths that were not copied). A path is not
    copied if `keep` matches it, or if the source lacks it or has it in another shape.

  Raises:
    errors.UserError: nothing fits at all.
  """
  flat, other = (traverse_util.flatten_dict(tree, sep="/") for tree in (fresh, source))
  kept = {
    path
    for path, leaf in flat.items()
    if re.fullmatch(keep, path) or path not in other or np.shape(other[path]) != leaf.shape
  }
  if len(kept) == len(flat):
    raise errors.UserError("nothing of these weights fits this network")
  grafted = {path: leaf if path in kept else other[path] for path, leaf in flat.items()}
  return traverse_util.unflatten_dict(grafted, sep="/"), sorted(kept)


def adopt(fresh: Variables, source: Variables) -> tuple[dict[str, Any], list[str]]:
  """Puts weights into a freshly initialised tree, by whole modules.

  Where `graft` takes what fits, this leaves nothing out: every leaf of the source must have its
  place, and a module at the top of the tree (`backbone`, `uncertainty_head`) that the source has
  at all it must have whole.

  Args:
    fresh: variables of the network to be; shapes are enough to learn what will stay fresh.
    source: variables of another network, or of some of its modules.

  Returns:
    (variables with the structure of `fresh`, names of the modules that the source lacks).

  Raises:
    errors.UserError: something does not fit; the message lists it.
  """
  flat, other = (traverse_util.flatten_dict(tree, sep="/") for tree in (fresh, source))
  module = lambda path: path.split("/")[1]
  there = {module(path) for path in other}
  wrong = [f"no place for {path}" for path in sorted(other.keys() - flat.keys())]
  for path, leaf in flat.items():
    if path in other and np.shape(other[path]) != leaf.shape:
      wrong.append(f"{path} is {np.shape(other[path])}, not {leaf.shape}")
    elif path not in other and module(path) in there:
      wrong.append(f"no {path}")
  if wrong or not other:
    more = f" and {len(wrong) - 6} more" if wrong[6:] else ""
    raise errors.UserError(
      f"these weights do not fit the network: {', '.join(wrong[:6]) or 'they are none'}{more}"
    )
  adopted = {path: other.get(path, leaf) for path, leaf in flat.items()}
  absent = sorted({module(path) for path in flat} - there)
  return traverse_util.unflatten_dict(adopted, sep="/"), absent
