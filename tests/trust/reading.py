"""Which fields of a config a program reads."""

import contextlib
import pathlib
import sys

import ml_collections
import pytest

import bicross_jax
from bicross_jax.config import check, grammar
from bicross_jax.train import runs

ConfigDict = ml_collections.ConfigDict
PACKAGE = str(pathlib.Path(bicross_jax.__file__).parent)
# Files whose reading is not use: what copies, converts, checks, compares or writes whole configs;
# but for what a parent's config is made of.
WHOLESALE = (
  grammar.__file__,
  check.__file__,
  runs.__file__,
  *map(str, pathlib.Path(PACKAGE, "recipes").glob("*/rules.py")),
)
PARENT = grammar.parent.__code__
ACCESS = ("__getitem__", "__getattr__", "get")  # of ConfigDict; its other methods read everything


@contextlib.contextmanager
def recorded(config):
  """Yields the set that the dotted names of the fields which the package reads are added to.

  A field counts when code of the package asks for it by name, or unpacks (`**`, `dict`) the section
  it is in, but not when the config is copied, compared, printed or written to a file.
  """
  seen, original = set(), ConfigDict.__getitem__

  def name(node, path):
    object.__setattr__(node, "_path", path)

  def getitem(node, key):
    value = original(node, key)
    path = node.__dict__.get("_path")
    if path is not None:
      full = f"{path}.{key}" if path else key
      if isinstance(value, ConfigDict):
        name(value, full)
      elif _is_use(sys._getframe(1)):
        seen.add(full)
    return value

  resolve = grammar.resolve_durations

  def resolved(config, examples):
    out = resolve(config, examples)
    if "_path" in config.__dict__:
      name(out, config.__dict__["_path"])
    return out

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ConfigDict, "__getitem__", getitem)
    patch.setattr(grammar, "resolve_durations", resolved)
    name(config, "")
    yield seen


def _is_use(frame):
  """Whether the code that asked for a field is the package's own, and means that field."""
  library = sys.modules[ConfigDict.__module__].__file__
  while frame.f_code.co_filename == library:
    if frame.f_code.co_name not in ACCESS:
      return False
    frame = frame.f_back
  file = frame.f_code.co_filename
  return frame.f_code is PARENT or (file.startswith(PACKAGE) and file not in WHOLESALE)
