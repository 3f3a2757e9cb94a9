"""Pictures and videos of what networks see, predict and get wrong, with scales.

The panel of a network (inputs, truth, prediction, error, uncertainty, feature activity):

    visualize.py --checkpoint runs/bicross/crossmodality-synthetic-s0 --output panel.png

The strip that compares networks (inputs, each prediction with its error, ground truth), on the data
on which the last one is tested by default:

    visualize.py --strip "source only=RUN" MonoCross=RUN BiCross=RUN --output strip.png

With --panels FOLDER the pictures of each example stand side by side in a file of its own, without titles and scales.

A video of either over a sequence, on one scale throughout:

    visualize.py --checkpoint RUN --video drive.mp4
    visualize.py --strip MonoCross=RUN BiCross=RUN --data.domain=foggy --video drive.gif

Every map of a file of disparities (see eval.py), in colours from its minimum to its 95th percentile, as
disp0.png, disp1.png, ... in the folder --output, or in disps_vis beside the file:

    visualize.py --disparities disparities.npy

The sequence is a drive through the synthetic world, or the frames of a part of another set in
their order (predict.py makes videos of files).
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from bicross_jax import cli, errors, files, tasks
from bicross_jax.commands import disparities, evaluate
from bicross_jax.config import grammar
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.formats import image
from bicross_jax.viz import cells, film, panels, video

ROWS, COLUMNS = 7, 13  # of a sequence's pixels, one in so many decides on the scales
MOST = 1_000_000  # frames
SHOWN = ("rgb", "spike")  # where the set has them, whatever the networks read
Example = dict[str, Any]


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `runs` as {name: folder} and `overrides` as "data.key=value".

  Raises:
    errors.UserError: a wrong argument or place.
  """
  parser = cli.Parser(
    "visualize.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument("--checkpoint", help="a run's folder, or one checkpoint in it")
  what.add_argument("--disparities", metavar="FILE.npy", help="saved disparities to draw")
  what.add_argument("--strip", nargs="+", metavar="NAME=RUN", help="networks to compare")
  add = parser.add_argument
  add("--output", help="the PNG file to write (of --disparities: the folder)")
  add("--panels", help="a folder for one PNG an example, of the pictures alone, pixel for pixel")
  add("--video", help="the .mp4 or .gif file to write")
  add("--part", choices=PARTS, default="test")
  add("--examples", type=int, default=4, help="rows of the picture")
  add("--frames", type=int, default=40, help="of the video")
  add("--first", type=int, default=0, help="frame that the video begins with")
  add("--fps", type=float, default=10.0, help="frames a second")
  cli.add_plugin(parser)
  args, rest = parser.parse_known_args(argv)
  args.overrides = grammar.overrides_of(rest, "--")
  for item in args.overrides:
    if not item.startswith("data."):
      raise errors.UserError(f"unknown argument --{item}; fields are set as --data.key=value")
  if args.disparities:
    if args.video or args.panels or args.overrides:
      raise errors.UserError("--disparities goes with --output alone")
    return args
  if not (args.output or args.video or args.panels):
    raise errors.UserError(
      "nothing to do: give --output FILE.png, --video FILE.mp4, --panels FOLDER or several of them"
    )
  for name, least in (("examples", 1), ("frames", 1), ("first", 0)):
    if not least <= getattr(args, name) <= MOST:
      raise errors.UserError(f"--{name} {getattr(args, name)} is not in {least} .. {MOST}")
  if args.panels:
    files.check_output_folder(args.panels)
  _check_file(args.output, (".png",))
  _check_file(args.video, (".mp4", ".gif"))
  if args.video:
    video.check(pathlib.Path(args.video), args.fps)
  args.runs = named_runs(args.strip) if args.strip else {"prediction": args.checkpoint}
  for path in args.runs.values():
    cli.check_checkpoint(path)
  return args


def main(argv: Sequence[str]) -> int:
  """Draws what the arguments say; returns the exit status."""
  args = parse(argv)
  if args.disparities:
    folder = disparities.folder_of(args.disparities, args.output)
    count = disparities.draw(args.disparities, folder)
    print(f"written: {count} picture(s) in {errors.shown(folder)}")
    return 0

  from bicross_jax import inference  # heavy, so only once the arguments are right

  models = {name: inference.load(path, plugins=args.plugin) for name, path in args.runs.items()}
  comparison = Comparison(models, args.overrides)
  task = comparison.task
  if args.output or args.panels:
    examples = comparison.examples(args.part, args.examples)
    scales = task.scales(examples, comparison.where.protocol)
    rows = [task.cells(example, scales) for example in examples]
    keys = [example["key"] for example in examples]
    if args.output:
      panels.save(args.output, panels.lay_out(rows, keys))
      print(f"written: {args.output}")
    for key, row in zip(keys, rows) if args.panels else ():
      name = key.replace("/", "-")
      image.write_png(pathlib.Path(args.panels) / f"{name}.png", panels.joined(row))
    if args.panels:
      print(f"written: {len(rows)} panel(s) in {errors.shown(args.panels)}")
  if args.video:

    def sequence():
      return comparison.sequence(args.part, first=args.first, count=args.frames, fps=args.fps)

    scales, template = survey(task, sequence(), comparison.where.protocol)
    rows = ((example["key"], task.cells(example, scales)) for example in sequence())
    count = video.write(args.video, film.frames(rows, template), args.fps)
    print(f"written: {args.video}, {count} frames")
  return 0


class Comparison:
  """Trained networks, side by side on the same data.

  Attributes:
    models: {name: from `inference.load`}.
    task: of all of them.
    where: on what data, and by which protocol: what the last of them is tested on.
  """

  def __init__(self, models: Mapping[str, Any], overrides: Sequence[str] = ()):
    """Takes the networks.

    Args:
      models: {name: from `inference.load`}.
      overrides: "data.key=value" texts.

    Raises:
      errors.UserError: networks of several tasks, or that read one field in two forms.
    """
    last = list(models.values())[-1]
    for name, model in models.items():
      if model.config.task != last.config.task:
        raise errors.UserError(
          f"{name} is of task {model.config.task}, the last network of {last.config.task}"
        )
    self.models, self.task = dict(models), tasks.create(last.config.task)
    self.where = evaluate.test_config(last.config, overrides=overrides)

  def examples(self, part: str, count: int) -> list[Example]:
    """Examples spread evenly over a part, with what the networks predict.

    Args:
      part: "train", "validation" or "test".
      count: how many.

    Returns:
      Dicts as `tasks.Task.cells` takes them: what the networks read and, where the set has them,
      `SHOWN` and the truth, all in the networks' view; "key", "prediction" {network: {name: map}}, "row" {network: what the task judged},
      of several "reads" {network: its inputs}, and of a single network "feature" where it has one.

    Raises:
      errors.UserError: data that is not there, or fields that a network cannot take.
    """
    data, batches, truth = self._open()
    size = data.sizes[part]
    chosen = {round(i * (size - 1) / max(1, count - 1)) for i in range(min(count, size))}
    return list(self._predicted(batches.evaluation(part, truth=truth), chosen))

  def sequence(
    self, part: str, *, first: int = 0, count: int = 40, fps: float = 10.0
  ) -> Iterator[Example]:
    """Consecutive frames with what the networks predict, as dicts like those of `examples`.

    Of a set that makes drives they are frames of one; of others the examples of a part in their
    order.

    Args:
      part: "train", "validation" or "test"; a drive is none of them.
      first: which frame is the first.
      count: how many there are at most.
      fps: frames a second of a drive.

    Raises:
      errors.UserError: data or a first frame that is not there.
    """
    data, batches, truth = self._open()
    if data.drives:
      frames = batches.drive(first + count, fps, truth=truth)
    else:
      if first >= data.sizes[part]:
        raise errors.UserError(f"there is no frame {first}: part {part} has {data.sizes[part]}")
      frames = batches.evaluation(part, truth=truth)
    return self._predicted(frames, range(first, first + count))

  def _open(self):
    """(data, batches of all that is read or shown, the names of the truth that the set has)."""
    import jax

    from bicross_jax import inference
    from bicross_jax.data import pipeline
    from bicross_jax.train import devices

    devices.prepare()
    data = pipeline.open(self.where.data, self.where.section)
    held = data.dataset.fields(self.where.data)
    own = {k: field for model in self.models.values() for k, field in model.recipe.fields.items()}
    truth = tuple(name for name in self.task.truth if name in held)
    read = {name for model in self.models.values() for name in model.inputs}
    shown = [n for n in cells.TITLES if n in read or n in SHOWN]
    shown = [name for name in (*shown, *truth) if name in held]
    spec = {
      name: jax.ShapeDtypeStruct(shape, dtype)
      for name, (shape, dtype) in data.stored(shown, own).items()
    }
    for model in self.models.values():
      spec |= inference.input_spec(model.recipe, self.where.data)
    for name, model in self.models.items():
      for field, wanted in inference.input_spec(model.recipe, self.where.data).items():
        if spec[field] != wanted:
          raise errors.UserError(
            f"{name} reads {field} of shape {wanted.shape}, another network {spec[field].shape}"
          )
    self._shown = tuple(shown)
    return data, data.batches(spec, seed=0, own_fields=own), truth

  def _predicted(self, batches, chosen) -> Iterator[Example]:
    """The chosen rows, by number, with what the networks predict."""
    import jax

    single = len(self.models) == 1
    predictors = {
      name: self.task.predictor(
        model.inspect if single else model.step, self.where.protocol, model.recipe.fields
      )
      for name, model in self.models.items()
    }
    carries = dict.fromkeys(predictors, ())
    last, first = max(chosen), 0
    for batch, truths in batches:
      rows = [i for i in range(len(truths)) if first + i in chosen]
      found = {}
      for name, predict in predictors.items():
        # A network with memory sees what comes before; of the first batch it is not known.
        if rows or first == 0 or jax.tree.leaves(carries[name]):
          found[name], carries[name] = predict(batch, carries[name])
      if rows:
        found = {name: jax.device_get(dict(out)) for name, out in found.items()}
      for i in rows:
        yield self._example(batch, truths[i], found, i)
      first += len(truths)
      if first > last:
        return

  def _example(self, batch, truth, found, i) -> Example:
    example = {name: batch[name][i] for name in self._shown} | {"key": truth["key"]}
    maps = {
      name: {k: x[i] for k, x in out.items() if np.ndim(x) >= 3 and k != "feature"}
      for name, out in found.items()
    }
    example["prediction"] = maps
    if all(name in truth for name in self.task.truth):
      example["row"] = {
        name: self.task.judge(x, truth, self.where.protocol) for name, x in maps.items()
      }
    if len(found) > 1:
      example["reads"] = {name: tuple(self.models[name].inputs) for name in found}
    if len(found) == 1:
      ((_, out),) = found.items()
      example |= {"feature": out["feature"][i]} if "feature" in out else {}
    return example


def survey(task: tasks.Task, frames: Iterable[Example], protocol: Any) -> tuple[Any, panels.Row]:
  """What all frames of a video share, from a share of their pixels, so that none need be held.

  Args:
    task: of the predictions.
    frames: of the whole sequence.
    protocol: of the task.

  Returns:
    (scales, a template for `viz.film`).
  """
  thin = [_thin(frame) for frame in frames]
  scales = task.scales(thin, protocol)
  return scales, film.template(task.cells(frame, scales) for frame in thin)


def _thin(x):
  """A frame with few of its pixels."""
  if isinstance(x, Mapping):
    return {name: value if name in ("row", "reads") else _thin(value) for name, value in x.items()}
  return np.asarray(x)[::ROWS, ::COLUMNS] if np.ndim(x) >= 2 else x


def named_runs(texts: Sequence[str]) -> dict[str, str]:
  """{name: run} of "NAME=RUN" texts.

  Raises:
    errors.UserError: a text without a name, or a name that comes twice.
  """
  runs = {}
  for text in texts:
    name, sep, path = text.partition("=")
    if not (name and sep and path):
      raise errors.UserError(f"--strip takes NAME=RUN, not {text!r}")
    if name in runs:
      raise errors.UserError(f"--strip names {name!r} twice")
    runs[name] = path
  return runs


def _check_file(path, suffixes):
  """Looks whether a file of that kind can be written there."""
  if not path:
    return
  file = pathlib.Path(path)
  if file.suffix not in suffixes or not file.parent.is_dir():
    raise errors.UserError(
      f"{errors.shown(path)} is no {' or '.join(suffixes)} file in a folder that exists"
    )
  if file.is_dir():
    raise errors.UserError(f"{errors.shown(path)} is a folder")
  files.check_output_folder(file.parent)
