"""Data sets of frames: files that lie in a tree, a few of which make up an example."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import os
import pathlib
from typing import Any, NamedTuple

from bicross_jax import errors, folders
from bicross_jax.data.dataset import PARTS, DataSet, Stored
from bicross_jax.data.layouts.readers import Asked, Reader

STREAMS = "spike"  # folder of the streams made for a published layout
HELD_OUT = 10  # one of so many training sequences or frames validates
SIMULATED = "scripts/simulate_spikes.py makes spike streams"
VERBS = {"train": "train", "validation": "validate", "test": "test"}  # in messages


class Frame(NamedTuple):
  """One frame of a set.

  Attributes:
    key: its name.
    files: by field, which may or may not be there. Fields may share one.
    side: which camera of a pair took it, "left" or "right".
  """

  key: str
  files: Mapping[str, str]
  side: str = "left"


class Recording(NamedTuple):
  """Frames of one place.

  Attributes:
    folder: where their images are looked for.
    frames: in the order of time; none where the folder holds no image.
    consecutive: whether they were recorded one after the other, without gaps; otherwise each is a
      recording of its own.
  """

  folder: str
  frames: tuple[Frame, ...]
  consecutive: bool = True


Finders = Mapping[str, Callable[[], list[Recording]]]  # by part, what lists its recordings


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSet(DataSet):
  """A data set of frames.

  Attributes:
    name: in configs.
    title: its name in a sentence.
    published: where it can be had; "": everybody makes their own.
    trees: the layouts that are understood, below the data folder.
    domains: what `domain` may be: a split, a weather, a place.
    find: (data folder, domain, entries of a config by part, which only some sets look at) -> what
      lists the recordings of a part when that part is used, by part; None where the folder holds none of
      the trees. Where there is a "train" without a "validation", that is cut from the training recordings
      (`hold_out`). A set may have some parts only.
    readers: the fields of the set and how their files are read; the first one is a map whose size
      all other maps of a frame must have.
    hint: where files can be had that are not published, for messages.
    default: the fields that are read where a config chooses none; (): all.
  """

  name: str
  title: str
  published: str
  trees: tuple[str, ...]
  domains: tuple[str, ...]
  find: Callable[[pathlib.Path, str, Mapping[str, Sequence[str]]], Finders | None]
  readers: Mapping[str, Reader]
  hint: str = ""
  default: tuple[str, ...] = ()

  def check(self, config: Any, section: str) -> None:
    """Raises errors.UserError for a folder without the set; see `DataSet.check`."""
    if config.steps % 8 or config.steps < 8:
      raise errors.UserError(
        f"a spike stream has a multiple of 8 steps, not config.{section}.steps={config.steps}"
      )
    wrong = [name for name in config.get("sensors", ()) if name not in self.readers]
    if wrong:
      raise errors.UserError(
        f"{self.name} has no field {wrong[0]!r} (config.{section}.sensors): choose from "
        f"{', '.join(self.readers)}"
      )
    self.finders(config.data_dir, config.domain, config.get("parts"), section)

  def fields(self, config: Any) -> Mapping[str, Stored]:
    """The fields that `config.sensors` chooses, and one that says their size; see `DataSet.fields`."""
    chosen = tuple(config.get("sensors", ()) or self.default or self.readers)
    if not any(self.readers[name].says_size for name in chosen):
      chosen += (next(iter(self.readers)),)
    return {n: r.stored(config.steps) for n, r in self.readers.items() if n in chosen}

  def build(self, config: Any, section: str, part: str) -> Any:
    """The builder of a part; see `DataSet.build`."""
    from bicross_jax.data.builders import frames, storage  # TensorFlow is needed from here on

    fields = tuple(self.fields(config))
    found = self.recordings(
      config.data_dir,
      config.domain,
      part,
      fields=fields,
      entries=config.get("parts"),
      allow_missing=config.get("allow_missing", False),
      section=section,
    )
    chosen = frames.FramesConfig(
      dataset=self, domain=config.domain, part=part, found=found, fields=fields, steps=config.steps
    )
    return storage.prepare(frames.Frames, chosen, storage.root())

  def camera(self, config: Any) -> tuple[float, float]:
    """That of the first training frame, of a set with intrinsics; see `DataSet.camera`."""
    if "intrinsics" not in self.readers:
      return 0.0, 0.0
    found = self.finders(config.data_dir, config.domain, config.get("parts"))
    recordings = found["train"]() if "train" in found else []
    frame = next((frame for recording in recordings for frame in recording.frames), None)
    if frame is None:
      return 0.0, 0.0

    def read(name, size=None):
      asked = Asked(frame.files[name], size, config.steps, frame.side)
      return self.readers[name].read(asked)

    size = read(next(iter(self.readers))).shape[:2]
    width = size[1] if config.get("crop", "bottom") in ("resize", "bicubic") else config.width
    baseline = abs(float(read("baseline", size))) if "baseline" in self.readers else 0.0
    return float(read("intrinsics", size)[0, 0]) / width, baseline

  def finders(
    self,
    data_dir: str | os.PathLike | None,
    domain: str,
    entries: Mapping[str, Sequence[str]] | None = None,
    section: str = "data",
  ) -> Finders:
    """What lists the recordings of every part that the set has, whether or not their files are there.

    Args:
      data_dir: the folder that holds one of the trees.
      domain: one of `domains`.
      entries: drives or frames by part for a domain that takes them ("listed" of kitti).
      section: of the config that names the folder, for errors.

    Raises:
      errors.UserError: an unknown domain, or a folder that holds none of the trees.
    """
    if domain not in self.domains:
      raise errors.UserError(
        f"unknown domain {domain!r} of {self.name}: choose from {', '.join(self.domains)}"
      )
    field = f"config.{section}.data_dir"
    if not data_dir:
      raise errors.UserError(
        f"{self.name} needs {field}, the folder that holds {' or '.join(self.trees)}"
        f"{self._published('; it')}"
      )
    root = folders.expand(data_dir, f"write {field} in full")
    found = self.find(root, domain, entries or {})
    if found is None:
      places = " or ".join(f"{root}/{tree}" for tree in self.trees)
      raise errors.UserError(
        f"{f'no {self.name}/{domain} in' if root.is_dir() else 'no folder'} {root} "
        f"({field}): {self.title} is read from {places}{self._published('; it')}"
      )
    if "validation" in found or "train" not in found:
      return found
    train = found["train"]
    held = {"train": lambda: hold_out(train())[0], "validation": lambda: hold_out(train())[1]}
    return {part: {**found, **held}[part] for part in PARTS}

  def recordings(
    self,
    data_dir: str | os.PathLike | None,
    domain: str,
    part: str,
    *,
    fields: Sequence[str] | None = None,
    entries: Mapping[str, Sequence[str]] | None = None,
    allow_missing: bool = False,
    section: str = "data",
    remedy: str = "",
  ) -> list[tuple[Frame, ...]]:
    """The frames of a part all of whose files are there, those of a recording together.

    Args:
      data_dir, domain, entries, section: as for `finders`.
      part: one of `PARTS`.
      fields: whose files are needed; None: those of all fields of the set.
      allow_missing: leave out frames and recordings that lack files, and say how many, instead of
        raising. A gap ends a recording.
      remedy: what leaves them out, for errors; "": the config's field.

    Raises:
      errors.UserError: as `finders`; a part without frames, or files that are missing.
    """
    fields = tuple(self.readers if fields is None else fields)
    finders = self.finders(data_dir, domain, entries, section)
    if part not in finders:
      raise errors.UserError(
        f"{self.title} ({self.name}) has no frames to {VERBS[part]} with, it is for the parts "
        f"{', '.join(finders)}"
      )
    recordings = finders[part]()
    gone = {
      id(f): paths
      for recording in recordings
      for f in recording.frames
      if (paths := _missing(f, fields))
    }
    every = sum(len(recording.frames) for recording in recordings)
    problems = [
      f"no images to {VERBS[part]} in {recording.folder}"
      for recording in recordings
      if not recording.frames
    ]
    if gone:
      paths = [path for paths in gone.values() for path in paths]
      problems.append(
        f"{len(gone)} of the {every} {part} frames lack files: "
        f"{', '.join(paths[:3])}{' and so on' if len(paths) > 3 else ''}"
      )
    if not (every or problems):
      problems.append(f"no frame to {VERBS[part]} with in {data_dir}")
    if problems and not (allow_missing and every > len(gone)):
      remedy = remedy or f"config.{section}.allow_missing=True leaves such frames out"
      told = [self._published(self.title), self.hint, remedy]
      raise errors.UserError(f"{'; '.join(problems[:3])}; {', '.join(filter(None, told))}")
    for problem in problems:
      print(f"left out: {problem}", flush=True)
    return [piece for recording in recordings for piece in _without(recording, gone)]

  def _published(self, subject: str) -> str:
    return f"{subject} is published at {self.published}" if self.published else ""


def _missing(frame: Frame, fields: Sequence[str]) -> list[str]:
  paths = [frame.files[name] for name in fields]
  return [path for path in paths if not os.path.isfile(path)]


def _without(recording: Recording, gone: Mapping[int, Any]) -> list[tuple[Frame, ...]]:
  """A recording in pieces, where frames are gone or each stands alone."""
  pieces: list[list[Frame]] = [[]]
  for frame in recording.frames:
    if id(frame) not in gone:
      pieces[-1].append(frame)
    if id(frame) in gone or not recording.consecutive:
      pieces.append([])
  return [tuple(piece) for piece in pieces if piece]


def stream_path(data_dir: str | os.PathLike, image_path: str | os.PathLike) -> str:
  """Where the stream of an image of a published layout lies: <data_dir>/spike/<image>.npy.

  <image> is the image's path below `data_dir` without its suffix, so a stream has the place and
  the name of its image in a tree beside it: `a/b/rgb_00001.jpg` -> `spike/a/b/rgb_00001.npy`.

  Raises:
    ValueError: the image does not lie in `data_dir`.
  """
  image = pathlib.Path(image_path).relative_to(data_dir)
  return str(pathlib.Path(data_dir) / STREAMS / image.with_suffix(".npy"))


def rearranged(key: str, folder: str, image: str, depth: str | None = None) -> Frame:
  """A frame of BiCross's layout: rgb/NAME.png, spike/npy/NAME.npy and depth/NAME.png of a folder.

  Args:
    key: of the frame.
    folder: which.
    image: name of the picture, with suffix.
    depth: the depth map where it lies elsewhere.
  """
  name = os.path.splitext(image)[0]
  return Frame(
    key,
    {
      "rgb": f"{folder}/rgb/{image}",
      "spike": f"{folder}/spike/npy/{name}.npy",
      "depth": depth or f"{folder}/depth/{name}.png",
    },
  )


def published(data_dir: str | os.PathLike, key: str, image: str, depth: str) -> Frame:
  """A frame of a published layout, its stream where `stream_path` says."""
  return Frame(key, {"rgb": image, "spike": stream_path(data_dir, image), "depth": depth})


def first_there(paths: Sequence[str]) -> str:
  """The first of some paths that exists, or the first of all where none does."""
  return next((path for path in paths if os.path.exists(path)), paths[0])


def hold_out(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
  """(training, validation) of the recordings that a set publishes for training, in order.

  Of ten recordings or more the last tenth (rounded up) validates, whole, so that no scene is in both;
  of fewer recordings the last tenth of the frames of each (rounded, at least one of two).
  """
  if len(recordings) >= HELD_OUT:
    kept = len(recordings) - math.ceil(len(recordings) / HELD_OUT)
    return list(recordings[:kept]), list(recordings[kept:])
  cuts = [max(n - max(round(n / HELD_OUT), 1), 1) for n in (len(r.frames) for r in recordings)]
  pairs = list(zip(recordings, cuts, strict=True))
  return (
    [r._replace(frames=r.frames[:cut]) for r, cut in pairs],
    [r._replace(frames=r.frames[cut:]) for r, cut in pairs if r.frames[cut:]],
  )


def three_parts(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
  """The recordings of each part, of a set that publishes no parts, in order.

  Of ten recordings or more the last tenth (rounded up) tests, and as many before them validate; of
  fewer recordings the same of the frames of each (rounded, at least one where there are as many).
  """
  if len(recordings) >= HELD_OUT:
    held = math.ceil(len(recordings) / HELD_OUT)
    cuts = len(recordings) - 2 * held, len(recordings) - held
    pieces = recordings[: cuts[0]], recordings[cuts[0] : cuts[1]], recordings[cuts[1] :]
    return dict(zip(PARTS, map(list, pieces), strict=True))
  found: dict[str, list[Recording]] = {part: [] for part in PARTS}
  for recording in recordings:
    n = len(recording.frames)
    held = max(round(n / HELD_OUT), 1)
    tested = max(n - held, 1)
    validated = max(tested - held, 1)
    spans = (0, validated), (validated, tested), (tested, n)
    for part, (first, last) in zip(PARTS, spans, strict=True):
      if recording.frames[first:last]:
        found[part].append(recording._replace(frames=recording.frames[first:last]))
  return found
