"""Discriminators under the names of Akada et al. (hiroyasuakada's repository, `model/network.py`).

Of the sequence that theirs is, every third item but the first is a convolution.
"""

from bicross_jax.convert import t2net
from bicross_jax.convert.naming import Naming, batch_norm, conv
from bicross_jax.convert.network import Network

_MODEL = "scale0.model."
_MOST = 8  # convolutions with a stride
_FIRST = f"{_MODEL}1"  # PReLU
_CONVS = [0, *(3 * i - 1 for i in range(1, _MOST + 2))]  # items
_PLACES = [(f"{_MODEL}{i}", f"{_MODEL}{i + 2}") for i in _CONVS[1:]]


def _rules():
  for i, item in enumerate(_CONVS):
    yield from conv(f"{_MODEL}{item}", f"params/conv{i}")
    if i:
      yield from batch_norm(f"{_MODEL}{item + 1}", f"norm{i}")


def _fill(published):
  """The slope wherever there is a further convolution behind it."""
  places = [(behind, slope) for (_, slope), (behind, _) in zip(_PLACES, _PLACES[1:])]
  return t2net.repeated(published, _FIRST, places)


NETWORK = Network(
  namings=(
    Naming(
      "Akada et al.'s discriminator",
      mark=r"scale0\.model\.0\.weight",
      rules=[*_rules(), *t2net.slopes("negative_slope", _FIRST, _PLACES)],
      unused=r"(?!)",
    ),
  ),
  fill=_fill,
)
