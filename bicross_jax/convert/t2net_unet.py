"""T2Net's depth network under the names of its authors and of Akada et al. (`model/network.py`)."""

from bicross_jax.convert import t2net
from bicross_jax.convert.naming import Naming, batch_norm, conv
from bicross_jax.convert.network import Network

_SIZE = 96  # pixels, of the input that a network is traced with
_FIRST = "conv1.3"  # PReLU
_PLACES = [
  *t2net.after_down("conv{}"),
  *t2net.after_residual("center.{}"),
  *t2net.after_up("center.3"),
  *t2net.after_up("deconv{}"),
]

NETWORK = Network(
  namings=(
    Naming(
      "T2Net's U-Net",
      mark=r"conv2\.model\.0\.weight",
      rules=[
        *conv("conv1.1", "params/conv1"),
        *batch_norm("conv1.2", "norm1"),
        *t2net.down("conv{}", "down{}"),
        *t2net.residual("center.{}", "center{}"),
        *t2net.up("center.3", "center_up"),
        *t2net.up("deconv{}", "deconv{}"),
        *conv("output{}.model.1", "params/output{}/conv"),
        *t2net.slopes("negative_slope", _FIRST, _PLACES),
      ],
      unused=r"(?!)",
    ),
  ),
  example=lambda module: (1, _SIZE, _SIZE, module.in_channels),
  fill=lambda published: t2net.repeated(published, _FIRST, _PLACES),
)
