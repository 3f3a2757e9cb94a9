"""SimSiam heads under the names of Akada et al. (hiroyasuakada's repository, `model/network.py`)."""

from bicross_jax.convert.naming import Naming, batch_norm, conv
from bicross_jax.convert.network import Network


def _rules():
  for i in range(3):
    yield from conv(f"projector.{3 * i}", f"params/projector{i + 1}")
    yield from batch_norm(f"projector.{3 * i + 1}", f"projector{i + 1}_norm")
  yield from conv("predictor.0", "params/predictor1")
  yield from batch_norm("predictor.1", "predictor1_norm")
  yield from conv("predictor.3", "params/predictor2")


NETWORK = Network(
  namings=(
    Naming(
      "Akada et al.'s SimSiam head", mark=r"projector\.0\.weight", rules=[*_rules()], unused=r"(?!)"
    ),
  )
)
