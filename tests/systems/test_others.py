"""Systems that the package has never heard of, through the same scripts."""

from tests.systems.contract import Contract


class TestToy(Contract):
  stages = ("toy-stereo", "toy-segment")


class TestSixth(Contract):
  stages = ("sixth-rates",)
