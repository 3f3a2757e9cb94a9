"""EvDistill's stages, through the scripts a person would use."""

from tests.systems.contract import Contract


class TestEvDistill(Contract):
  stages = ("evdistill-teacher", "evdistill-student", "evdistill-supervised")
  slow = ("test_benchmark", "test_export")
