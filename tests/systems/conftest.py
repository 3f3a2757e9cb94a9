"""The trained runs of tests/scripts."""

import pytest

from tests.scripts.conftest import model, place, shared, trained  # noqa: F401 (fixtures)


def pytest_generate_tests(metafunc):
  """Every test of a contract runs for every stage that its class lists."""
  if "stage" in metafunc.fixturenames:
    marks = [pytest.mark.slow] if metafunc.function.__name__ in metafunc.cls.slow else []
    stages = [pytest.param(name, marks=marks) for name in metafunc.cls.stages]
    metafunc.parametrize("stage", stages)
