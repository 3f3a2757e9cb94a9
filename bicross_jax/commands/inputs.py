"""Files as the input of a network: which there are, what it takes of them, and their fields."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import numpy as np

from bicross_jax import errors, fields
from bicross_jax.commands import event_inputs
from bicross_jax.data.formats import events, image, listing, npy, spikes
from bicross_jax.tasks import maps

# Of networks with that input alone.
COUNTED = ("events", "event_image")  # of event files
KINDS = {
  "rgb": listing.PICTURES,
  "spike": spikes.SUFFIXES,
  **dict.fromkeys(COUNTED, events.SUFFIXES),
}
STREAMS = ("spike", *COUNTED)  # of which windows are taken
FRAME = ".npz"  # of any network
DAT = (250, 400)  # pixels of a .dat of which nothing is said
ENDINGS = ("depth", "uncertainty", "label", "overlay")  # of what tasks write: NAME_depth.npy
# Shapes, after height and width for maps, of what may stand beside the fields that a network reads.
BESIDE = {"rgb": (3,), "intrinsics": (3, 3), "depth": (), "label": ()}
Fields = dict[str, np.ndarray]  # of one example


class Source(NamedTuple):
  """A file, or a folder of files that are frames of one sequence, in order."""

  name: str
  paths: list[pathlib.Path]


class Window(NamedTuple):
  """What of a stream a network sees.

  Attributes:
    start: first step of spikes, or milliseconds after the first event; the window is as long as the
      network's.
    height, width: of a .dat (by default `DAT`), or of event cameras whose file does not say it.
    right: the file of the right event camera, where it is not that of the left one and does not lie
      beside it as DSEC's does.
    rectify: a folder with MVSEC's maps, where events are not rectified yet.
  """

  start: int = 0
  height: int | None = None
  width: int | None = None
  right: pathlib.Path | None = None
  rectify: pathlib.Path | None = None


def find(paths: Sequence) -> list[Source]:
  """The input files, of any kind, that `paths` (files or folders) hold, in order.

  Raises:
    errors.UserError: a path that is not there, a file of a kind that no network takes, or a folder
      without any.
  """
  suffixes = (*dict.fromkeys(s for kind in KINDS.values() for s in kind),)
  found = []
  for path in map(pathlib.Path, paths):
    if path.is_dir():
      inside = [path / name for name in listing.names(path, suffixes)]
      inside = [p for p in inside if not p.is_dir()]
      if not inside:
        raise errors.UserError(f"no input ({', '.join(suffixes)}) in {errors.shown(path)}")
      found.append(Source(path.resolve().name, inside))
    elif not path.is_file():
      raise errors.UserError(f"no file or folder {errors.shown(path)}")
    elif path.suffix.lower() not in suffixes:
      raise errors.BadFileError(path, "unknown kind of input", ", ".join(suffixes))
    else:
      found.append(Source(path.stem, [path]))
  return found


def suitable(
  sources: Sequence[Source], inputs: Mapping[str, Any], windows: bool = False
) -> list[Source]:
  """What of the sources a network takes.

  Args:
    sources: from `find`.
    inputs: of the network.
    windows: whether windows of streams are asked for.

  Raises:
    errors.UserError: a file of another kind, nothing at all, or names that come twice (results are
      named after their input).
  """
  read = ", ".join(inputs)
  kind = _kind(inputs)
  if windows and kind not in STREAMS:
    raise errors.UserError(
      f"--stride is for streams of spikes or events; this network reads {read}"
    )
  suffixes = (*dict.fromkeys((*KINDS.get(kind, ()), FRAME)),)
  found = []
  for source in sources:
    inside = [p for p in source.paths if p.suffix.lower() in suffixes]
    if not inside and len(source.paths) == 1:
      wanted = ", ".join(suffixes)
      raise errors.BadFileError(source.paths[0], f"this network reads {read}", wanted)
    if not inside:
      folder = errors.shown(source.paths[0].parent)
      raise errors.UserError(f"no {read} input ({', '.join(suffixes)}) in {folder}")
    found.append(Source(source.name, inside))
  names = [p.stem for s in found for p in s.paths]
  ended = [f"{name}_{ending}" for name in names for ending in ENDINGS]
  for given in (names, [s.name for s in found], [*set(names), *set(ended)]):
    twice = next((name for i, name in enumerate(given) if name in set(given[:i])), None)
    if twice is not None:
      raise errors.UserError(
        f"two results would have the same name, {errors.shown(twice)}; give inputs separate "
        "--output folders"
      )
  return found


def check(sources: Sequence[Source], model: Any, window: Window, stride: int | None) -> None:
  """Looks at the heads of all files, so that a wrong one is known before anything is written.

  Raises:
    errors.BadFileError: a file that is not of its kind, or a stream that is too short.
  """
  for path in (path for source in sources for path in source.paths):
    if path.suffix.lower() == FRAME and _kind(model.inputs) not in COUNTED:
      npy.npz_names(path)  # a stream is read whole, so later
    elif is_frame(model, path):
      npy.npz_names(path)
    elif _kind(model.inputs) == "rgb":
      image.size(path)
    elif _kind(model.inputs) in COUNTED:
      with _cameras(model, path, window) as cameras:
        event_inputs.starts(cameras, window.start, stride or 1)
    else:
      stream = _stream(path, window)
      window_starts(stream, _steps(model), window.start, stride or 1)


def window_starts(stream: spikes.Stream, steps: int, start: int, stride: int) -> range:
  """The first steps of all windows that lie whole in a stream.

  Args:
    stream: the stream.
    steps: length of a window.
    start: where the first window begins.
    stride: steps from the beginning of one window to that of the next.

  Raises:
    errors.UserError: start or stride cannot be; errors.BadFileError: not even one window fits.
  """
  if start < 0 or stride < 1:
    raise errors.UserError(f"windows cannot begin at step {start}, {stride} steps apart")
  if start + steps > stream.steps:
    raise errors.BadFileError(
      stream.path, f"has {stream.steps} steps", f"at least {start + steps} for one window"
    )
  return range(start, stream.steps - steps + 1, stride)


def read(model: Any, path: pathlib.Path, window: Window = Window()) -> Fields:
  """The fields of one example: of a picture, a window of a stream, or a .npz of fields.

  Args:
    model: `inference.Model`.
    path: of a kind that it takes.
    window: of a stream.

  Raises:
    errors.BadFileError: it cannot be read, or is not what the network reads.
  """
  kind = _kind(model.inputs)
  if is_frame(model, path):
    return read_frame(model, path)
  if kind == "rgb":
    return {"rgb": image.read_rgb(path)}
  if kind in COUNTED:
    with _cameras(model, path, window) as cameras:
      return _counted(model, cameras, window.start)
  stream = _stream(path, window)
  return _read_window(model, stream, window.start)


def is_frame(model: Any, path: pathlib.Path) -> bool:
  """Whether a file is a .npz of the fields of one example, and no stream."""
  kind = _kind(model.inputs)
  return path.suffix.lower() == FRAME and (kind not in STREAMS or kind in npy.npz_names(path))


def read_frame(model: Any, path: pathlib.Path) -> Fields:
  """The fields in a .npz file, checked: those that the network reads, and what stands beside them.

  Raises:
    errors.BadFileError: a field that is not there, or of another type or shape.
  """
  inputs, own = dict(wanted(model.inputs)), model.recipe.fields
  held = npy.npz_names(path)
  lacking = [name for name in inputs if name not in held]
  if lacking:
    raise errors.BadFileError(
      path, f"holds {', '.join(held) or 'nothing'}", f"what the network reads: {', '.join(inputs)}"
    )
  out, size = {}, None
  for name in (*inputs, *(n for n in BESIDE if n in held and n not in inputs)):
    field, x = fields.get(name, own), npy.read_npz(path, name)
    if field.kind == "map":
      size = size or x.shape[:2]
      shape = (*size, *(inputs[name].shape[2:] if name in inputs else BESIDE[name]))
    else:
      shape = inputs[name].shape if name in inputs else BESIDE[name]
    types = [inputs[name].dtype.name] if name in inputs else list(field.dtypes)
    if x.dtype.name not in types or x.shape != tuple(shape) or not x.size:
      raise errors.BadFileError(
        path,
        f"{name} is {x.dtype.name} {x.shape}",
        f"{' or '.join(types)} {tuple(shape)}: {field.meaning}",
      )
    out[name] = x
  return out


def read_windows(
  model: Any, stream: spikes.Stream, starts: Iterable[int]
) -> Iterator[tuple[str, Fields]]:
  """("NAME_%07d" with the window's first step, fields) for windows of a stream of any length.

  One window is held at a time.
  """
  for start in starts:
    yield f"{stream.path.stem}_{start:07d}", _read_window(model, stream, start)


def fitted(model: Any, given: Fields) -> Fields:
  """What a network reads of an example, in its size where it takes no other (`Recipe.fixed`).

  Maps are resized whole: pictures to means of their pixels, as those of training were, others to one of them each.
  """
  reads, own = wanted(model.inputs), model.recipe.fields
  kernel = "bicubic" if model.config.data.get("crop") == "bicubic" else "lanczos"
  out = {name: given[name] for name in reads}
  for name in fields.maps(reads, own) if model.recipe.fixed else ():
    size = reads[name].shape[:2]
    smooth = fields.get(name, own).smooth
    out[name] = image.resize(out[name], size, kernel) if smooth else maps.nearest(out[name], size)
  return out


def sequences(
  sources: Sequence[Source],
  model: Any,
  window: Window,
  stride: int | None,
  complete: Callable[[pathlib.Path, Fields], Fields],
) -> Iterator[tuple[str, int, Iterator[tuple[str, Fields]]]]:
  """(name, number of frames, iterator of (key, fields)) of every sequence in the sources.

  A sequence is the files of a source or, with a stride, the windows of one stream. `complete` adds to the
  fields of an example what is known of its file.
  """
  for source in sources:
    if stride is None:
      frames = ((p.stem, complete(p, read(model, p, window))) for p in source.paths)
      yield source.name, len(source.paths), frames
      continue
    for path in source.paths:
      if _kind(model.inputs) in COUNTED:
        with _cameras(model, path, window) as cameras:
          starts = event_inputs.starts(cameras, window.start, stride)
          frames = (
            (f"{path.stem}_{t:07d}", complete(path, _counted(model, cameras, t))) for t in starts
          )
          yield path.stem, len(starts), frames
        continue
      stream = _stream(path, window)
      starts = window_starts(stream, _steps(model), window.start, stride)
      windows = read_windows(model, stream, starts)
      yield path.stem, len(starts), ((key, complete(path, given)) for key, given in windows)


def _read_window(model, stream, start):
  return {"spike": spikes.pack_time(stream.read(start, _steps(model)))}


def _counted(model, cameras, start):
  """The field of a network for events, of the window that begins at some millisecond."""
  kind = _kind(model.inputs)
  return {kind: cameras.counts(start) if kind == "events" else cameras.image(start)}


def _cameras(model, path, window):
  """The event cameras that a network reads, open; of event images the left one."""
  size = (window.height, window.width) if window.height and window.width else None
  if _kind(model.inputs) == "event_image":
    return event_inputs.open_cameras(path, 1, 1, None, window.rectify, size)
  bins, channels = model.inputs["events"].shape[-2:]
  cameras = model.config.get("input", {}).get("cameras", channels // 2)
  return event_inputs.open_cameras(path, bins, cameras, window.right, window.rectify, size)


def _stream(path, window):
  """A spike stream, open."""
  height, width = window.height or DAT[0], window.width or DAT[1]
  return spikes.open_stream(path, height=height, width=width)


def wanted(inputs: Mapping[str, Any]) -> dict[str, Any]:
  """The inputs that files hold: all but those that say where a sequence begins."""
  return {name: spec for name, spec in inputs.items() if name != "reset"}


def _kind(inputs) -> str:
  """A key of `KINDS`, or "" for a network that takes .npz files alone."""
  names = [*wanted(inputs)]
  return names[0] if len(names) == 1 and names[0] in KINDS else ""


def _steps(model) -> int:
  """The length of the streams that a network reads, in steps."""
  return 8 * model.inputs["spike"].shape[-1]
