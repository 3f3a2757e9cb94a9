"""One small trained run of both stages that all script tests share."""

import importlib.util
import os
import pathlib

import filelock
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SMALL = [
  "--config.data.train=8",
  "--config.data.validation=3",
  "--config.data.test=3",
  "--config.data.height=32",
  "--config.data.width=64",
  "--config.data.batch_size=4",
  "--config.input.height=32",
  "--config.input.width=64",
  "--config.train.steps=2",
  "--config.train.log_every=1",
  "--config.train.validate_every=2",
  "--config.parent.train.steps=2",
  "--config.parent.data.batch_size=4",
]


def script(name):
  """The module of scripts/<name>.py."""
  spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="session")
def place(tmp_path_factory):
  """A working folder with the configs in it, and data of its own; all workers of xdist share it."""
  base = tmp_path_factory.getbasetemp()
  folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "scripts"
  with filelock.FileLock(f"{folder}.lock"):
    if not folder.exists():
      folder.mkdir()
      (folder / "configs").symlink_to(ROOT / "configs")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("BICROSS_DATA", str(folder / "data"))
    yield folder


@pytest.fixture(scope="session")
def crossmodality(place):
  """The folder of a finished crossmodality run; its parent was trained on the way."""
  with filelock.FileLock(place / "training.lock"), pytest.MonkeyPatch.context() as patch:
    patch.chdir(place)
    assert script("train").main(["--config", "configs/bicross.py:crossmodality", *SMALL]) == 0
  return place / "runs" / "bicross" / "crossmodality-synthetic-s0"
