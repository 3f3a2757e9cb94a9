"""Generators under the names of Akada et al. (hiroyasuakada's repository, `model/network.py`)."""

from bicross_jax.convert import t2net
from bicross_jax.convert.naming import Naming, batch_norm, conv
from bicross_jax.convert.network import Network

_FIRST = "encoder.3"  # the first PReLU
_BLOCK = 8  # place of the first residual block in the sequence of their encoder
_MOST = 24  # residual blocks
_PLACES = [
  *t2net.after_down("encoder.{}"),
  *t2net.after_residual("encoder.{}"),
  *t2net.after_up("decoder.{}"),
]


def _blocks():
  for i in range(_MOST):
    yield from t2net.residual(f"encoder.{_BLOCK + i}", f"block{i}")


NETWORK = Network(
  namings=(
    Naming(
      "Akada et al.'s generator",
      mark=r"encoder\.4\.model\.0\.weight",
      rules=[
        *conv("encoder.1", "params/conv1"),
        *batch_norm("encoder.2", "norm1"),
        *t2net.down("encoder.4", "down1"),
        *t2net.down("encoder.6", "down2"),
        *_blocks(),
        *t2net.up("decoder.{}", "up{}"),
        *conv("decoder.3", "params/out/conv"),
        *t2net.slopes("negative_slope", _FIRST, _PLACES),
      ],
      unused=r"(?!)",
    ),
  ),
  fill=lambda published: t2net.repeated(published, _FIRST, _PLACES),
)
