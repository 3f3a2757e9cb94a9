"""EPCDepth's stages, through the scripts a person would use."""

from tests.systems.contract import Contract


class TestEPCDepth(Contract):
  stages = ("epcdepth-tiny",)
  slow = ("test_benchmark", "test_export")
