"""Akada et al.'s stages, through the scripts a person would use."""

from tests.systems.contract import Contract


class TestSource(Contract):
  """The depth network alone."""

  stages = ("domain_invariant-source",)
  slow = ("test_benchmark", "test_export")


class TestAdaptation(Contract):
  """Steps of generators, critics and a depth network take long to compile."""

  stages = ("domain_invariant-translation", "domain_invariant-ssrl", "domain_invariant-finetune")
  slow = tuple(name for name in dir(Contract) if name.startswith("test_"))
