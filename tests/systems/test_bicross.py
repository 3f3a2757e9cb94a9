"""BiCross through the scripts."""

from tests.systems.contract import Contract


class TestBicross(Contract):
  stages = (
    "bicross-pretrain",
    "bicross-crossmodality",
    "bicross-crossdomain",
    "bicross-neuromorphic",
  )
