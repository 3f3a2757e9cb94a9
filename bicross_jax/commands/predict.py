"""Runs a trained network on files: what it predicts, pictures, videos.

    predict.py --checkpoint runs/bicross/crossmodality-synthetic-s0 a.dat --output out
    predict.py --checkpoint runs/bicross/crossmodality-synthetic-s0 a.dat --stride 64 --output out
    predict.py --checkpoint RUN_OF_AN_RGB_STAGE frames/ --output out

An input is a file or a folder of files of a kind that the network takes: pictures (.png, .jpg),
spike streams (.dat of the camera, .npy of shape (T, H, W), .npz with time last), events (.h5 and .hdf5
of MVSEC or DSEC, .aedat4, .txt with "t x y p" lines, .npy, .npz), or, for every
network, .npz files whose arrays are the fields it reads by name, as in a batch but without its
first axis ("rgb" uint8[H, W, 3], "events" uint8[H, W, T, C], ...); "rgb", "intrinsics" and the
truth may stand beside them. For every input NAME of a depth network there are

  NAME_depth.npy        float32 metres, in the input's size; 0 where the network gives no number
  NAME_depth.png        16 bits, metres x 256 (what is farther than 255.99 m is written as that)
  NAME_uncertainty.npy  float32, where the network has it
  NAME.ply              a point cloud, with --ply
  NAME.png              a picture: input, prediction and uncertainty, with their scales

and of one that predicts classes NAME_label.png (indexed), NAME_overlay.png (over the RGB picture or the
event image), NAME_uncertainty.npy and NAME.png.

Of a stream, the window is taken that begins at step --start and is as long as the network's
(128 steps). With --stride N a window is taken every N steps from there to the end of the stream;
NAME is then NAME_0000000, NAME_0000064, ... after the window's first step, and there is a video
instead of pictures. A .dat or .npy may be of any length: one window is in memory at a time (a
.npz is read whole).

Of events, --start and --stride are milliseconds after the first event, and a window lasts 50 ms. A
network for two cameras takes both from MVSEC's file, or from the folder `right` beside the folder `left` that
holds the input (DSEC), or from --right. Events are rectified by the rectify_map.h5 beside them (DSEC) or by
the maps in the folder --rectify (MVSEC's *_left_x_map.txt and so on); else they are taken as they are.

Depth is in metres of the camera that the network has learned with. Where the checkpoint says which that is, and
the camera of the input is known, depth is rescaled to that: from --intrinsics fx,fy,cx,cy (pixels of the
input), else from the intrinsics in a .npz, else from the EXIF focal length of a picture (that of 35 mm
film; its 36 mm are the picture's longer side). --intrinsics none leaves depth as it is. A line
says what was done.

A sequence (a stream with --stride; a folder with more than one file, in the order of the numbers
in their names) also gives a video, named like the stream or folder. All its frames share one
colour scale: that of the first frame, or --depth_range. A network with memory keeps it from frame
to frame of a sequence.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
import os
import pathlib
import sys
from typing import Any

import numpy as np

from bicross_jax import cli, errors, fields, files, tasks
from bicross_jax.commands import camera as user
from bicross_jax.commands import inputs
from bicross_jax.commands.inputs import Fields
from bicross_jax.commands.tested import test_config
from bicross_jax.viz import colour, film, panels, video


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "predict.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("inputs", nargs="+", help="files, or folders of files")
  add("--checkpoint", required=True, help="a run's folder, or one checkpoint in it")
  add("--output", required=True, type=pathlib.Path, help="folder for the results")
  add("--start", type=int, default=0, help="first step (events: ms) of a stream's (first) window")
  add("--stride", type=int, help="steps (events: ms) from window to window (default: one window)")
  add("--right", type=pathlib.Path, help="the right camera's events, of a single input")
  add("--rectify", type=pathlib.Path, help="folder with MVSEC's rectification maps")
  add("--height", type=int, help="rows of a .dat (default 250), or of event cameras")
  add("--width", type=int, help="columns of a .dat (default 400), or of event cameras")
  add("--video", choices=("mp4", "gif", "none"), default="mp4", help="of a sequence (default mp4)")
  add("--fps", type=float, default=10.0, help="frames a second of the video (default 10)")
  add(
    "--intrinsics", metavar="FX,FY,CX,CY", help="of the input, in pixels; or none: rescale nothing"
  )
  add("--ply", action="store_true", help="write point clouds; the camera must be known")
  add(
    "--depth_range",
    type=float,
    nargs=2,
    metavar=("LOW", "HIGH"),
    help="metres that the colours of pictures and videos span",
  )
  cli.add_plugin(parser)
  args = parser.parse_args(argv)
  if args.start < 0:
    parser.error(f"--start {args.start} is negative")
  for name in ("stride", "height", "width"):
    value = getattr(args, name)
    if value is not None and value < 1:
      parser.error(f"--{name} {value} is not positive")
  if not video.SLOWEST <= args.fps <= video.FASTEST:
    parser.error(f"--fps {args.fps:g} is not in {video.SLOWEST} .. {video.FASTEST}")
  if args.depth_range and not 0 < args.depth_range[0] < args.depth_range[1] < float("inf"):
    parser.error("--depth_range needs 0 < LOW < HIGH")
  user.parse(args.intrinsics)
  if args.ply and args.intrinsics == user.UNKNOWN:
    parser.error("--ply needs a camera, and --intrinsics none says that there is none")
  if args.right and len(args.inputs) > 1:
    parser.error("--right goes with a single input")
  if not os.path.isdir(args.checkpoint):
    raise errors.UserError(f"no folder {errors.shown(args.checkpoint)}")
  return args


def main(argv: Sequence[str]) -> int:
  """Predicts what the arguments say; returns the exit status."""
  args = parse(argv)
  sources = inputs.find(args.inputs)
  sequences = [source.name for source in sources if len(source.paths) > 1]
  if args.stride is not None:
    sequences = [path.stem for source in sources for path in source.paths]
  videos = [f"{name}.{args.video}" for name in sequences if args.video != "none"]
  check_output(args.output, args.inputs, sources, videos)

  from bicross_jax import inference  # heavy, so only once the arguments are right
  from bicross_jax.train import devices

  devices.prepare()

  model = inference.load(args.checkpoint, plugins=args.plugin)
  task = tasks.create(model.config.task)
  for name in ("depth_range", "intrinsics", "ply"):
    if getattr(args, name) and task.name != "depth":
      raise errors.UserError(f"--{name} is of depth; this network predicts {task.name}")
  window = inputs.Window(args.start, args.height, args.width, args.right, args.rectify)
  sources = inputs.suitable(sources, model.inputs, args.stride is not None)
  inputs.check(sources, model, window, args.stride)
  camera = user.User(args.intrinsics, model.camera, args.ply, model.recipe.fields)
  paths = (path for source in sources for path in source.paths)
  camera.check(paths, windows=args.stride is not None)
  writer = Writer(args, task, model.recipe.fields, test_config(model.config).protocol)
  for name, count, frames in inputs.sequences(sources, model, window, args.stride, camera.complete):
    writer.write(name, count, camera.rescaled(predict(model, task, frames)))
  if task.name == "depth":
    print(camera)
  print(writer.summary())
  return 0


class Writer:
  """Leaves the results of sequences in a folder, and says what it left."""

  def __init__(
    self, args: argparse.Namespace, task: tasks.Task, own: Mapping[str, fields.Field], protocol: Any
  ):
    """Takes the arguments of `parse`, the network's task, the fields of its recipe's own, and its test's protocol."""
    self._args, self._task, self._own, self._protocol = args, task, own, protocol
    self._total, self._videos, self._names = 0, 0, {}

  def write(self, name: str, count: int, results: Iterable[tuple[str, Fields, Fields]]) -> None:
    """Writes a sequence's results as they come, and its video.

    Args:
      name: of the sequence.
      count: how many results there are.
      results: from `predict`.
    """
    import tqdm

    bar = tqdm.tqdm(results, total=count, desc=errors.shown(name), unit="map", disable=count == 1)
    found = Found(self._task.values(self._protocol))
    with bar:
      rows = self._rows(bar, found)
      if count > 1 and self._args.video != "none":
        path = self._args.output / f"{name}.{self._args.video}"
        video.write(path, film.frames(rows), self._args.fps)
        self._videos += 1
      else:
        for _ in rows:
          pass
    self._total += count
    self._names |= dict.fromkeys(found.names)
    if str(found):
      tqdm.tqdm.write(f"{errors.shown(name)}: {found}")
    if found.bad:
      warning = f"warning: {errors.shown(name)}: values that are no numbers: {found.bad}"
      tqdm.tqdm.write(f"{warning}; what is written is unknown there", file=sys.stderr)

  def summary(self) -> str:
    """What was written, in one line."""
    made = " and ".join(self._names) + (" and picture" if self._args.stride is None else "")
    videos = f", {self._videos} video(s)" if self._videos else ""
    return f"written: {self._total} x {made}{videos} in {errors.shown(self._args.output)}"

  def _rows(self, results, found):
    """Writes results as they pass; yields them as rows of a film, all on the first one's scales."""
    first = None
    for key, given, predictions in results:
      fitted = self._task.fit(predictions, _size(given, self._own))
      found.add(predictions, fitted)
      left_out = (*self._task.truth, *(() if self._args.ply else ("intrinsics",)))
      seen = {n: x for n, x in given.items() if n not in left_out}
      self._task.write(self._args.output, key, seen | fitted, self._protocol)
      example = {"key": key, **given, "prediction": {"prediction": fitted}}
      scales = self._scales(example)
      first = scales if first is None else first
      if self._args.stride is None:
        drawing = panels.lay_out([self._task.cells(example, scales)], [key])
        panels.save(self._args.output / f"{key}.png", drawing)
      yield key, self._task.cells(example, first)

  def _scales(self, example):
    scales = self._task.scales([example], self._protocol)
    if self._args.depth_range:
      scales = scales._replace(depth=colour.Scale(*self._args.depth_range, "log"))
    return scales


class Found:
  """What was found in a sequence, in a line: the ends of every prediction, the shares of labels.

  Attributes:
    names: of all that is written.
    bad: how many values were NaN or infinite.
  """

  def __init__(self, values: Sequence[str] = ()):
    """Takes what the numbers in labels are called; other numbers are unknown."""
    self.names, self.bad = [], 0
    self._values, self._ends, self._counts = values, {}, {}

  def add(self, predictions: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> None:
    """Takes a frame: what the network says, and what is written of it."""
    self.names = list(fitted)
    self.bad += sum(x.size - np.isfinite(x).sum() for x in predictions.values())
    for name, x in fitted.items():
      if x.dtype.kind == "f":
        x = predictions[name]
        finite = x[np.isfinite(x)]
        known = [*self._ends.get(name, ()), *([finite.min(), finite.max()] if finite.size else [])]
        self._ends[name] = (min(known), max(known)) if known else ()
      else:
        counts = np.bincount(x.ravel(), minlength=256)
        self._counts[name] = self._counts.get(name, 0) + counts

  def __str__(self):
    units = {"depth": " m"}
    return ", ".join(
      [
        f"{name} {ends[0]:.3g} to {ends[1]:.3g}{units.get(name, '')}" if ends else f"{name} unknown"
        for name, ends in self._ends.items()
      ]
      + [self._shares(counts) for counts in self._counts.values()]
    )

  def _shares(self, counts):
    """ "road 61 %, car 12 %": the most frequent first."""
    named = {i: counts[i] for i in np.argsort(-counts, kind="stable") if counts[i]}
    titles = dict(enumerate(self._values))
    return ", ".join(
      f"{titles.get(i, 'unknown')} {100 * n / counts.sum():.0f} %" for i, n in named.items()
    )


def check_output(
  output: pathlib.Path,
  paths: Sequence,
  sources: Sequence[inputs.Source],
  videos: Sequence[str] = (),
) -> None:
  """Looks whether results can be written, and that they are written over no input.

  Args:
    output: folder for the results.
    paths: the inputs as they were given.
    sources: what was found in them.
    videos: names of the videos that will be written.

  Raises:
    errors.UserError: the output is an input folder, holds an input that a result would be written
      over, cannot be written, or holds a folder of a result's name.
  """
  files.check_output_folder(output)
  here = os.path.realpath(output)
  if here in {os.path.realpath(path) for path in paths if os.path.isdir(path)}:
    raise errors.UserError(
      f"--output {errors.shown(output)} is an input folder: results would be written over inputs"
    )
  taken = {os.path.realpath(path) for source in sources for path in source.paths}
  for name in videos:
    video.check(output / name)
  held = sorted(os.listdir(output)) if output.is_dir() else []
  for name in {path.stem for source in sources for path in source.paths}:
    exact = {f"{name}{suffix}" for suffix in (".png", ".ply")}
    for entry in held:
      if entry in exact or entry.startswith(f"{name}_"):
        _check_entry(output / entry, taken)
  for name in videos:
    _check_entry(output / name, taken)


def _check_entry(path, taken):
  if os.path.realpath(path) in taken:
    raise errors.UserError(
      f"{errors.shown(path)} is an input, and a result of that name would be written over it: "
      "give another --output folder"
    )
  if path.is_dir() and path.suffix in (".png", ".npy", ".ply", ".mp4", ".gif"):
    raise errors.UserError(f"{errors.shown(path)} is a folder; a result has that name")


def predict(
  model: Any, task: tasks.Task, frames: Iterable[tuple[str, Fields]]
) -> Iterator[tuple[str, Fields, Fields]]:
  """What a network says of the frames of one sequence, with its memory kept from one to the next.

  Args:
    model: `inference.Model`.
    task: of the network.
    frames: (key, fields of one example), in order.

  Yields:
    (key, fields, {name: map [h, w, ...] of the network's size}) of each.
  """
  carry, first = (), True
  for key, given in frames:
    batch = {name: x[None] for name, x in inputs.fitted(model, given).items()}
    if "reset" in model.inputs:
      batch["reset"] = np.array([first])
    predictions, carry = model.step(batch, carry)
    maps = {name: np.asarray(x)[0] for name, x in predictions.items() if np.ndim(x) >= 3}
    if not any(name in maps for name in task.judged):
      raise errors.UserError(f"the network predicts {', '.join(maps) or 'nothing'}, no {task.name}")
    yield key, given, maps
    first = False


def _size(given, own) -> tuple[int, int]:
  """Height and width of the maps of an example."""
  return given[fields.maps(given, own)[0]].shape[:2]
