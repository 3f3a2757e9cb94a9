"""BiCross's stages that learn from one domain's labels, through the scripts."""

from tests.systems.contract import Contract


class TestBicross(Contract):
  stages = ("bicross-pretrain", "bicross-crossmodality")
