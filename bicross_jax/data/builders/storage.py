"""Where built data sets lie, and how a build becomes whole: once, undisturbed and quietly."""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import shutil
import sys
import tempfile
import threading

from absl import logging
import tensorflow_datasets as tfds

from bicross_jax import errors

_VERBOSITY = threading.RLock()  # absl has one verbosity for all threads


def root(data_dir: str | os.PathLike | None = None) -> pathlib.Path:
  """The folder that built sets lie in: `data_dir`, else $BICROSS_DATA, else the user's cache.

  The cache is `$XDG_CACHE_HOME/bicross_jax/data`, by default `~/.cache/bicross_jax/data`.
  """
  if not data_dir:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    data_dir = os.environ.get("BICROSS_DATA") or pathlib.Path(cache) / "bicross_jax" / "data"
  return pathlib.Path(data_dir).expanduser().absolute()


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
    errors.UserError: `folder` cannot be written to, or its disk is full.
  """
  config = builder_class.builder_configs.get(config.name, config)
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
        tempfile.TemporaryDirectory() as unused,
      ):  # TFDS wants a folder for downloads
        builder.download_and_prepare(file_format="array_record", download_dir=unused)
  return builder


def _open(builder_class, config, folder):
  with quiet():
    return builder_class(data_dir=folder, config=config)


def _is_whole(builder):
  return pathlib.Path(builder.data_dir).is_dir()  # it got this name when it was complete


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
  """Holds the file `path` locked; waits, and says so, while another process holds it."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
  except OSError as error:
    raise errors.UserError(
      f"cannot write data to {path.parent} ({error.strerror}); name another folder with "
      "config.data.data_dir or the environment variable BICROSS_DATA"
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
      "name another folder with the environment variable BICROSS_DATA"
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
