"""BiCross's stages that learn from one domain's labels, through the scripts."""

from tests.systems.contract import Contract


class TestBicross(Contract):
  stages = ("bicross-pretrain", "bicross-crossmodality")
  slow = ("test_benchmark",)  # fast with the stages that have parents, streams and a memory
