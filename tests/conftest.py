"""Settings and fixtures that all tests share."""

from importlib.metadata import version
import importlib.util
import os
import pathlib

# Tests compile much and compute little; set before JAX is imported, and for child processes too.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# XLA's older code generator for fusions compiles a training step in 4 s instead of 10, and without
# optimisations what it makes is four times as fast. Later versions of XLA no longer have it.
_OLDER = "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_OLDER}".strip()
# Nothing of what they compile is left in the user's cache folder.
os.environ.setdefault("BICROSS_COMPILE_CACHE", "0")

import jax  # noqa: E402 (after its settings)
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

MAPPED = pathlib.Path("/proc/self/maps")  # on Linux: a line for every piece of mapped memory
ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def samples() -> pathlib.Path:
  """The folder of small real samples; tests that need it skip where it is absent."""
  folder = pathlib.Path(os.environ.get("BICROSS_SAMPLES", ROOT.parent / "shared" / "data"))
  if not folder.is_dir():
    pytest.skip(f"no sample data in {folder} (set BICROSS_SAMPLES)")
  return folder.resolve()


@pytest.fixture(scope="session")
def golden():
  """The module that draws and loads golden cases: golden.load(name), golden.weights(spec)."""
  spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(autouse=True)
def few_compiled_programs():
  """Drops compiled programs before they fill what a process may map (65,530 pieces on Linux).

  XLA aborts beyond that, and a test of a whole training leaves thousands.
  """
  yield
  if MAPPED.exists() and MAPPED.read_bytes().count(b"\n") > 20_000:
    jax.clear_caches()
