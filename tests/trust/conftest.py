"""Runs of the real scripts/train.py on a tiny world, in processes that may be killed."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.train import conftest as training
from tests.train.conftest import left, python, toy, toy_process, whole  # noqa: F401 (fixtures)

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KILLING = HERE / "killing.py"
PRETRAIN = ["--config", "configs/bicross.py:pretrain,smoke"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
  """A folder whose `data` and `cache` all runs of these tests share."""
  return tmp_path_factory.mktemp("trust")


@pytest.fixture(scope="session")
def train(home):
  """train(workdir, *fields, when="never", devices=1, batches=None) -> finished process.

  scripts/train.py on stage pretrain; `when` it is killed and the file of `batches`: see killing.py.
  """

  def run(workdir, *fields, when="never", devices=1, batches=None):
    flags = [f"--config.{field}" for field in fields]
    env = {
      **os.environ,
      "PYTHONPATH": str(ROOT),
      "JAX_PLATFORMS": "cpu",
      "BICROSS_DATA": str(home / "data"),
      "BICROSS_COMPILE_CACHE": str(home / "cache"),
      "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
    }
    if batches is not None:
      env["BATCHES"] = str(batches)
    command = [
      KILLING,
      when,
      ROOT / "scripts" / "train.py",
      *PRETRAIN,
      *flags,
      "--workdir",
      workdir,
    ]
    return subprocess.run(
      [sys.executable, *map(str, command)],
      cwd=ROOT,
      env=env,
      capture_output=True,
      text=True,
      timeout=600,
      check=False,
    )

  return run


@pytest.fixture
def here(home, tmp_path, monkeypatch):
  """This process works in a folder of its own with the configs in it, on the shared data."""
  (tmp_path / "configs").symlink_to(ROOT / "configs")
  monkeypatch.setenv("BICROSS_DATA", str(home / "data"))
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.fixture(scope="session")
def toy_killed(python):
  """toy_killed(when, workdir, *flags, devices=1): the toy recipe's script, killed; see killing.py."""
  return lambda when, *arguments, **options: python(
    KILLING, when, training.HERE / "toy.py", *arguments, **options
  )
