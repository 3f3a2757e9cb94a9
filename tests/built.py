"""Where tests keep the worlds that they render, so that one run renders each only once."""

import functools
import hashlib
import os
import pathlib
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


@functools.cache
def folder() -> pathlib.Path:
  """A folder for built sets that all tests share, also those of another process and a later run.

  It is another one when the code that renders and writes them changes, or who runs the tests.
  """
  digest = hashlib.sha256()
  for room in ("sim", "data/builders"):
    for file in sorted((ROOT / "bicross_jax" / room).rglob("*.py")):
      digest.update(file.read_bytes())
  name = f"bicross_jax-tests-{os.getuid()}-{digest.hexdigest()[:12]}"
  return pathlib.Path(tempfile.gettempdir()) / name
