"""EvDistill's stages, through the scripts a person would use."""

from tests.systems.contract import Contract


class TestEvDistill(Contract):
  """The student, with its teacher behind it."""

  stages = ("evdistill-student",)
  slow = ("test_benchmark", "test_export")


class TestLabelled(Contract):
  """The stages that learn from labels, which are one recipe."""

  stages = ("evdistill-teacher", "evdistill-supervised")
  slow = tuple(name for name in dir(Contract) if name.startswith("test_"))
