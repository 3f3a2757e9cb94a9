"""Where built data sets lie, and how a build becomes whole: once, undisturbed and quietly."""

from collections.abc import Iterator
import contextlib
import fcntl
import grp
import os
import pathlib
import pwd
import shutil
import sys
import tempfile
import threading

from absl import logging
from google.protobuf import json_format
import tensorflow_datasets as tfds

from bicross_jax import errors, files, folders

VARIABLE = "BICROSS_DATA"  # a folder
# What TFDS raises where the description of a built set is damaged or of another set.
_DAMAGE = (
  json_format.Error,
  AssertionError,
  KeyError,
  OSError,
  RuntimeError,
  TypeError,
  ValueError,
)
_VERBOSITY = threading.RLock()  # absl has one verbosity for all threads


def root(data_dir: str | os.PathLike | None = None) -> pathlib.Path:
  """The folder that built sets lie in: `data_dir`, else $BICROSS_DATA, else the user's cache.

  The cache is `$XDG_CACHE_HOME/bicross_jax/data`, by default `~/.cache/bicross_jax/data`.

  Raises:
    errors.UserError: the home folder is needed and there is none.
  """
  if data_dir:
    return folders.expand(data_dir, "write the path in full")
  return folders.cache("data", VARIABLE)


def prepare(
  builder_class: type[tfds.core.DatasetBuilder],
  config: tfds.core.BuilderConfig,
  folder: pathlib.Path,
) -> tfds.core.DatasetBuilder:
  """The builder of `config` under `folder`, its examples written if they were not.

  Examples are written to a temporary folder that is renamed when all are there, so an interrupted
  build leaves nothing that looks whole. Of several processes that ask at the same time one
  builds and the others wait.

  Raises:
    errors.UserError: `folder` cannot be written to, its disk is full, or what lies there is
      damaged.
  """
  files.check_storage_name(folder)
  config = builder_class.builder_configs.get(config.name, config)
  _require_folders(folder, builder_class.name, config.name)
  builder = _open(builder_class, config, folder)
  if _is_whole(builder):
    return builder
  with _lock(folder / f"{builder.name}-{config.name}.lock"):
    builder = _open(builder_class, config, folder)  # it may be there by now
    if not _is_whole(builder):
      version = pathlib.Path(builder.data_dir)
      for leftover in version.parent.glob("incomplete.*"):  # of a build that was killed
        shutil.rmtree(leftover)
      _require_space(folder, builder.required_bytes())
      with (
        errors.writing(folder),
        quiet(),
        _owners_without_names(),
        tempfile.TemporaryDirectory() as unused,
      ):  # TFDS wants a folder for downloads
        builder.download_and_prepare(file_format="array_record", download_dir=unused)
  return builder


@contextlib.contextmanager
def _owners_without_names() -> Iterator[None]:
  """Lets a user whom the system has no name for build sets, as in containers.

  TFDS asks epath for the sizes of files, and that looks up the names of their owner and group too;
  where there is none the number stands for it.
  """
  lookups = [(pwd, "getpwuid", pwd.struct_passwd, 7), (grp, "getgrgid", grp.struct_group, 4)]

  def tolerant(lookup, kind, length):
    def look_up(number):
      try:
        return lookup(number)
      except KeyError:
        return kind([str(number), *[""] * (length - 1)])

    return look_up

  with contextlib.ExitStack() as stack:
    for module, name, kind, length in lookups:
      plain = getattr(module, name)
      stack.callback(setattr, module, name, plain)
      setattr(module, name, tolerant(plain, kind, length))
    yield


def damaged(path: str | os.PathLike, problem: str) -> errors.UserError:
  """The error of a built set that cannot be read.

  Args:
    path: the file, or the set's folder; a file lies in that folder.
    problem: what was found.
  """
  path = pathlib.Path(path)
  folder = path if path.is_dir() else path.parent
  return errors.UserError(
    f"{path}: damaged ({problem.strip().splitlines()[0]}); delete the folder {folder}, it is "
    "built anew when it is next used"
  )


def _open(builder_class, config, folder):
  place = folder / builder_class.name / config.name / str(builder_class.VERSION)
  try:
    with quiet():
      builder = builder_class(data_dir=folder, config=config)
  except _DAMAGE as error:
    if not place.is_dir():
      raise
    raise damaged(place, f"{error}") from error
  if _is_whole(builder):
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    if sizes != builder.sizes() or "smallest" not in builder.info.metadata:
      raise damaged(place, f"it says that it holds {sizes}, not {builder.sizes()}")
  return builder


def _is_whole(builder):
  return pathlib.Path(builder.data_dir).is_dir()  # it got this name when it was complete


def _require_folders(root: pathlib.Path, name: str, config: str) -> None:
  for folder in (root, root / name, root / name / config):
    if folder.exists() and not folder.is_dir():
      raise errors.UserError(
        f"{folder} is a file, and built data sets are to lie in a folder there; remove it, or name "
        f"another folder with the environment variable {VARIABLE}"
      )


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
  """Holds the file `path` locked; waits, and says so, while another process holds it."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
  except OSError as error:
    raise errors.UserError(
      f"cannot write data to {path.parent} ({error.strerror}); name another folder with the "
      f"environment variable {VARIABLE}"
    ) from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print(f"waiting for another process that builds {path.stem}", file=sys.stderr, flush=True)
      fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file lets go of the lock


def _require_space(folder: pathlib.Path, needed: int) -> None:
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise errors.UserError(
      f"{folder} has {free / 1e9:.1f} GB free, the data set may need {needed / 1e9:.1f} GB; "
      f"name another folder with the environment variable {VARIABLE}"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps TFDS from logging anything below errors."""
  with _VERBOSITY:
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
      yield
    finally:
      logging.set_verbosity(verbosity)
