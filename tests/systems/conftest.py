"""The trained runs of tests/scripts."""

from tests.scripts.conftest import model, place, shared, trained  # noqa: F401 (fixtures)


def pytest_generate_tests(metafunc):
  """Every test of a contract runs for every stage that its class lists."""
  if "stage" in metafunc.fixturenames:
    metafunc.parametrize("stage", metafunc.cls.stages)
