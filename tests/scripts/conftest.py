"""Trained runs of every stage of every system, in seconds, that all tests of scripts share."""

import importlib.util
import os
import pathlib
from typing import NamedTuple

import filelock
import jax
from jax.experimental.compilation_cache import compilation_cache
import pytest

from bicross_jax import inference
from tests import built

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "tests" / "systems" / "configs"


class Stage(NamedTuple):
  """One stage of a system.

  Attributes:
    config: what --config takes, with paths as from the folder of `place`.
    parents: the stages that it starts from, by name.
    plugins: the modules whose recipe its checkpoints name.
  """

  config: str
  parents: tuple[str, ...] = ()
  plugins: tuple[str, ...] = ()

  @property
  def plugin_flags(self) -> list[str]:
    """--plugin MODULE for each."""
    return [word for name in self.plugins for word in ("--plugin", name)]


STAGES = {
  **{
    f"bicross-{stage}": Stage(f"configs/bicross.py:{stage},smoke", parents)
    for stage, parents in (
      ("pretrain", ()),
      ("crossmodality", ("bicross-pretrain",)),
      ("crossdomain", ("bicross-crossmodality",)),
      ("neuromorphic", ()),
    )
  },
  **{
    f"stereospike-{stage}": Stage(f"configs/stereospike.py:{stage},smoke")
    for stage in ("binocular", "spikecam", "ann")
  },
  "epcdepth-tiny": Stage("configs/epcdepth.py:tiny,smoke"),
  **{
    f"evdistill-{stage}": Stage(f"configs/evdistill.py:{stage},smoke", parents)
    for stage, parents in (("teacher", ()), ("student", ("evdistill-teacher",)), ("supervised", ()))
  },
  **{
    f"domain_invariant-{stage}": Stage(f"configs/domain_invariant.py:{stage},smoke", parents)
    for stage, parents in (
      ("source", ()),
      ("translation", ("domain_invariant-source",)),
      ("ssrl", ("domain_invariant-translation",)),
      ("finetune", ("domain_invariant-ssrl",)),
    )
  },
  **{
    f"toy-{stage}": Stage(f"{CONFIGS}/toy.py:{stage}", parents, ("tests.systems.toy",))
    for stage, parents in (("stereo", ()), ("segment", ("bicross-pretrain", "toy-stereo")))
  },
  "sixth-rates": Stage(f"{ROOT}/tests/trust/sixth.py:rates,smoke", (), ("tests.trust.sixth",)),
}
_MODELS = {}


def script(name):
  """The module of scripts/<name>.py."""
  spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
  """A folder with the configs in it that all workers of xdist share."""
  base = tmp_path_factory.getbasetemp()
  folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "scripts"
  with filelock.FileLock(f"{folder}.lock"):
    if not folder.exists():
      folder.mkdir()
      (folder / "configs").symlink_to(ROOT / "configs")
  return folder


@pytest.fixture
def place(shared, monkeypatch):
  """The working folder: `shared`, with a compile cache of its own, and the worlds of all tests."""
  monkeypatch.setenv("BICROSS_DATA", str(built.folder()))
  monkeypatch.setenv("BICROSS_COMPILE_CACHE", str(shared / "compiled"))
  monkeypatch.chdir(shared)
  compilation_cache.reset_cache()
  yield shared
  compilation_cache.reset_cache()
  for name in ("jax_compilation_cache_dir", "jax_enable_compilation_cache"):
    jax.config.update(name, None if name.endswith("dir") else True)


@pytest.fixture
def trained(place):
  """trained(name of a stage) -> the folder of its finished run, trained once for all workers."""

  def run(name):
    stage = STAGES[name]
    system, words = name.split("-")[0], name.split("-")[1:]
    folder = place / "runs" / system / f"{words[0]}-smoke-s0"
    for parent in stage.parents:
      run(parent)
    with filelock.FileLock(place / f"{name}.lock"):
      if not (folder / "result.json").is_file():
        assert script("train").main(["--config", stage.config]) == 0
    return folder

  return run


@pytest.fixture
def model(trained):
  """model(name of a stage) -> its network, loaded once by each worker."""

  def load(name):
    folder = trained(name)
    if (folder, name) not in _MODELS:
      _MODELS[folder, name] = inference.load(folder, plugins=STAGES[name].plugins)
    return _MODELS[folder, name]

  return load


@pytest.fixture
def crossmodality(trained):
  """The folder of a finished run of crossmodality."""
  return trained("bicross-crossmodality")
