"""Fixtures for the tests of train/: the toy recipe, in this process and in others."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def toy():
  """The module toy.py."""
  spec = importlib.util.spec_from_file_location("train_toy", HERE / "toy.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="session")
def python():
  """python(*arguments, devices=1) -> finished process; runs with the package on its path."""

  def call(*arguments, devices=1, **env):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return subprocess.run(
      [sys.executable, *map(str, arguments)],
      capture_output=True,
      text=True,
      timeout=120,
      cwd=HERE.parent.parent,
      check=False,
      env={
        **os.environ,
        "PYTHONPATH": str(HERE.parent.parent),
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        **env,
      },
    )

  return call


@pytest.fixture(scope="session")
def toy_process(python):
  """toy_process(workdir, *flags, devices=1): toy.py as a script."""
  return lambda *arguments, **options: python(HERE / "toy.py", *arguments, **options)


class Left:
  """What a run left on disk, to be compared."""

  def __init__(self, workdir):
    self.workdir = pathlib.Path(workdir)

  @property
  def steps(self):
    return sorted(
      int(p.name) for p in (self.workdir / "checkpoints").iterdir() if p.name.isdecimal()
    )

  def state(self, step):
    with ocp.StandardCheckpointer() as reader:
      return reader.restore(self.workdir.absolute() / "checkpoints" / str(step) / "state")

  @property
  def lines(self):
    """The lines of metrics.jsonl without what depends on the clock."""
    rows = map(json.loads, (self.workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]

  def assert_equals(self, other):
    """Bit for bit: the last state, and every line of metrics."""
    assert self.lines == other.lines
    assert self.steps[-1] == other.steps[-1]
    a, b = self.state(self.steps[-1]), other.state(other.steps[-1])
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
      np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="session")
def left():
  return Left


@pytest.fixture(scope="session")
def whole(toy, tmp_path_factory):
  """The toy run that nothing interrupts: (Left, result)."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  result = toy.train(workdir)
  return Left(workdir), result
