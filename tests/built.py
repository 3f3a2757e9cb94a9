"""Where tests keep the worlds that they render, so that one run renders each only once."""

import functools
import hashlib
from importlib.metadata import version
import os
import pathlib
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


@functools.cache
def folder() -> pathlib.Path:
  """A folder for built sets that all tests share, also those of another process and a later run.

  It is another one when the code that renders and writes them changes, what compiles that code, or
  who runs the tests.
  """
  compiler = (
    version("jaxlib"),
    os.environ["XLA_FLAGS"],
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"],
  )
  digest = hashlib.sha256(repr(compiler).encode())
  for place in ("sim/**/*.py", "data/builders/**/*.py", "data/depth_hints.py"):
    for file in sorted((ROOT / "bicross_jax").glob(place)):
      digest.update(file.read_bytes())
  name = f"bicross_jax-tests-{os.getuid()}-{digest.hexdigest()[:12]}"
  return pathlib.Path(tempfile.gettempdir()) / name
