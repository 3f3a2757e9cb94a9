"""Evaluates a checkpoint: a table of metrics with two baselines, JSON of every image and a summary.

Of classes there is a picture of the confusion matrix, too.

    python scripts/eval.py --checkpoint runs/bicross/crossmodality-synthetic-s0
    python scripts/eval.py --checkpoint RUN --data.domain=foggy      # the same network elsewhere
    python scripts/eval.py --checkpoint RUN --eval target --eval.max_depth=50
    python scripts/eval.py --checkpoint RUN --config configs/bicross.py:pretrain,scene
    python scripts/eval.py --checkpoint RUN --config.output=-1       # fields of the network's config
    python scripts/eval.py --checkpoint RUN --save_disparities disparities.npy
    python scripts/eval.py --disparities disparities.npy --data.data_dir=/data/kitti_raw

What is tested on, and how, stands in the config's `evals`; its `test` names the one that is used.

--disparities tests a file instead of a network: a .npy of shape (maps, height, width), one map for each
example of the part, metres = factor / disparity. Without --config that is Eigen's split of KITTI raw
(set kitti_stereo) by protocol kitti_eigen_375. --save_disparities writes such a file of what a network
predicts. The baselines read all training depth; --no_baselines leaves them out.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent import futures
import contextlib
import pathlib
from typing import Any

from bicross_jax import cli, errors, files, tasks
from bicross_jax.commands import disparities
from bicross_jax.commands.tested import CHANGES, Test, apart, test_config, with_truth
from bicross_jax.config import grammar


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `config` loaded and `overrides` as "key=value".

  Raises:
    errors.UserError: a wrong argument, config or place.
  """
  parser = cli.Parser(
    "eval.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  which = parser.add_mutually_exclusive_group(required=True)
  which.add_argument("--disparities", metavar="FILE.npy", help="test saved disparities instead")
  add_test(parser, which)
  add = parser.add_argument
  add("--save_disparities", metavar="FILE.npy", help="where to write the network's disparities")
  add(
    "--factor",
    type=float,
    default=disparities.FACTOR,
    help=f"metres of depth of a saved disparity of 1 (default {disparities.FACTOR:g})",
  )
  add("--no_baselines", action="store_true", help="test no baselines")
  add(
    "--config",
    metavar="FILE[:ARG]",
    help="take data and protocol from this config instead of the checkpoint's",
  )
  add("--output", help="folder of the JSON files (default: eval-... in the run's folder)")
  args = parse_test(parser, argv, CHANGES)
  args.changes, args.overrides = apart(args.overrides)
  if not 0 < args.factor < float("inf"):
    raise errors.UserError(f"--factor {args.factor:g} is not a positive number")
  if args.disparities:
    if args.save_disparities:
      raise errors.UserError("--save_disparities goes with --checkpoint")
    if args.changes:
      raise errors.UserError(f"--{CHANGES}{args.changes[0]} goes with --checkpoint")
    args.disparities = disparities.Maps(args.disparities)
    files.check_output_folder(args.output or pathlib.Path(args.disparities.path).parent)
  if args.save_disparities:
    _check_npy(args.save_disparities)
  args.config = grammar.load(args.config) if args.config else None
  return args


def _check_npy(path) -> None:
  """Looks whether a .npy file can be written there."""
  if not str(path).endswith(".npy"):
    raise errors.UserError(f"--save_disparities {errors.shown(path)} is no .npy file")
  if pathlib.Path(path).is_dir():
    raise errors.UserError(f"--save_disparities {errors.shown(path)} is a folder")
  files.check_output_folder(pathlib.Path(path).parent)


def add_test(parser: argparse.ArgumentParser, among=None) -> None:
  """Adds the arguments by which a network's test is chosen: which network, data, protocol.

  Args:
    parser, among: as for `cli.add_checkpoint`.
  """
  cli.add_checkpoint(parser, among)
  add = parser.add_argument
  add("--eval", metavar="NAME", default="", help="an entry of the config's evals (default: test)")
  add(
    "--protocol", metavar="NAME", default="", help="a published one of the task (default: eval's)"
  )


def parse_test(
  parser: argparse.ArgumentParser, argv: Sequence[str], *also: str
) -> argparse.Namespace:
  """The arguments of a parser with `add_test` and `--output`; `overrides` as "key=value".

  Args:
    parser, argv: of the script.
    *also: what keys may begin with, besides "data." and "eval.".

  Raises:
    errors.UserError: a wrong argument or place.
  """
  args, rest = parser.parse_known_args(argv)
  args.overrides = grammar.overrides_of(rest, "--")
  for item in args.overrides:
    if not item.startswith(("data.", "eval.", *also)):
      raise errors.UserError(
        f"unknown argument --{item}; fields are set as --data.key=value and --eval.key=value"
      )
  if args.checkpoint is not None:
    cli.check_checkpoint(args.checkpoint)
    files.check_output_folder(args.output or args.checkpoint)
  return args


def main(argv: Sequence[str]) -> int:
  """Evaluates the checkpoint, or the file, that the arguments name; returns the exit status."""
  args = parse(argv)

  from bicross_jax.evaluation import report as reports

  model, where = _tested(args)
  task = tasks.create(model.config.task)
  folder = output_folder(args, where, "eval")
  about = {
    "data": f"{where.data.name}/{where.data.domain}/{args.part}",
    **(model.about if args.disparities else {"checkpoint_step": model.meta["step"]}),
    "protocol": where.protocol._asdict(),
    **({"changes": args.changes} if args.changes else {}),
  }
  label = f"{model.config.system} {model.config.stage}"
  report, tables, paths = None, [], []
  if model.recipe.score is not None:
    about["scores"] = score(model, where, args.part)
    numbers = {name: x for name, x in about["scores"].items() if isinstance(x, float)}
    tables.append(reports.table({label: numbers}, tuple(numbers)))
  if model.recipe.score is None or _has_truth(task, where):
    with contextlib.ExitStack() as stack:
      also = model.look if args.disparities else None
      if args.save_disparities:
        count = opened(model, where).sizes[args.part]
        also = stack.enter_context(disparities.writing(args.save_disparities, count, args.factor))
        paths = [args.save_disparities]
      report, baselines, left_out = with_baselines(
        model, where, args.part, also, none=args.no_baselines
      )
    about |= {"baselines": baselines, "baselines_left_out": left_out}
    rows = {label: report.summary, **baselines}
    titles = {**task.titles, **task.called(where.protocol)}
    tables.append(reports.table(rows, reports.shown(rows.values(), task.columns), titles))
    if left_out:
      tables.append(f"without the baselines: {left_out}")
  paths += reports.save(folder, report, **about)  # saved before it is printed
  if report:
    paths += task.plots(folder, report.summary, where.protocol)
  images = f"{report.summary['images']} images, " if report else ""
  tested = args.disparities.path if args.disparities else f"checkpoint step {model.meta['step']}"
  print(f"{about['data']}: {images}{tested}", *tables, sep="\n")
  print("written:", ", ".join(map(str, paths)))
  return 0


def _tested(args) -> tuple[Any, Test]:
  """The network that the arguments name, or the file in its place, and what it is tested on."""
  from bicross_jax import inference

  chosen = dict(evaluation=args.eval, protocol=args.protocol, overrides=args.overrides)
  if args.disparities:
    saved = disparities.Saved(args.disparities, args.factor, args.config)
    where = with_truth(test_config(saved.config, **chosen), tasks.create("depth"), ())
    if where.section == "data":
      saved.config.data = where.data  # of which the baselines learn
    saved.check(opened(saved, where), args.part, where.protocol)
    return saved, where
  plugins = (*args.plugin, *(grammar.trusted(args.config) if args.config else ()))
  model = inference.load(args.checkpoint, args.which, plugins, args.changes)
  where = test_config(model.config, args.config, **chosen)
  if model.recipe.score is None:
    where = with_truth(where, tasks.create(model.config.task), model.recipe.inputs)
  if args.save_disparities and model.config.task != "depth":
    raise errors.UserError(
      f"--save_disparities: the network predicts {model.config.task}, no depth"
    )
  _compile_ahead(model, where)
  return model, where


def output_folder(args: argparse.Namespace, where: Test, word: str) -> pathlib.Path:
  """Where results of a test go: `--output`, or a folder in the run's that begins with `word`.

  Raises:
    errors.UserError: it cannot be written.
  """
  names = [word, where.data.name, where.data.domain, args.part, args.eval, args.protocol]
  saved = getattr(args, "disparities", None)
  beside = pathlib.Path(saved.path).parent if saved else pathlib.Path(args.checkpoint)
  inside = beside / "-".join(filter(None, names))
  folder = pathlib.Path(args.output or inside)
  files.check_output_folder(folder)
  return folder


def evaluate(model, where: Test, part: str):
  """What the task finds of a trained network.

  Args:
    model: from `inference.load`.
    where: on what data, and by which protocol.
    part: "train", "validation" or "test".

  Returns:
    `evaluation.run.Report`.

  Raises:
    errors.UserError: data that is not there, or nothing in it that could be compared.
  """
  return _evaluate(model, where, part, {})[""]


def with_baselines(
  model, where: Test, part: str, also=None, *, none: bool = False
) -> tuple[Any, dict[str, dict], str]:
  """As `evaluate`, with the predictors that never look at their input, by the same protocol.

  They are learned from the data that the network was trained on. Where those are not there, the
  network is tested all the same.

  Args:
    model, where, part: as for `evaluate`.
    also: as for `evaluation.run.evaluate_all`.
    none: leave them out.

  Returns:
    (report, {baseline: summary}, why there are no baselines: "" where there are).
  """
  from bicross_jax.data import pipeline

  task = tasks.create(model.config.task)
  blind, left_out = {}, "--no_baselines" if none else ""
  try:
    if not none:
      truths = pipeline.open(model.config.data, "data").truths("train", task.truth)
      blind = task.baselines(truths, where.protocol)
  except errors.UserError as error:
    left_out = str(error)
  found = _evaluate(model, where, part, blind, also)
  report = found.pop("")
  return report, {name: baseline.summary for name, baseline in found.items()}, left_out


def score(model, where: Test, part: str) -> dict[str, Any]:
  """What the recipe's `score` finds of a trained network, without labels: {metric: mean}."""
  import jax

  from bicross_jax.evaluation import run
  from bicross_jax.train import devices, state

  devices.prepare()
  step = jax.jit(model.recipe.score)
  first, *_ = state.streams(model.recipe.batch_spec()).values()
  examples = batches(model, where, part, (), first)
  return run.score(lambda batch: step(model.variables, batch), examples)


def batches(model, where: Test, part: str, truth: Sequence[str], fields=None):
  """What a network is tested on: an iterator of (batch, truths), one dict an image.

  Args:
    model, where, fields: as for `opened`.
    part: "train", "validation" or "test".
    truth: fields that come whole in the truths.
  """
  return opened(model, where, fields).evaluation(part, truth=truth)


def opened(model, where: Test, fields=None):
  """The `Batches` of what a network is tested on, to be gone through once or more.

  Args:
    model: from `inference.load`.
    where: on what data.
    fields: {name: shape and dtype} of batches, besides what the network reads.
  """
  from bicross_jax import inference
  from bicross_jax.data import pipeline

  spec = {**(fields or {}), **inference.input_spec(model.recipe, where.data)}
  data = pipeline.open(where.data, where.section)
  return data.batches(spec, seed=0, own_fields=model.recipe.fields)


def _evaluate(model, where, part, blind: Mapping[str, tasks.Predict], also=None):
  """{"" for the network, or the name of one of `blind`: Report}, from one pass over the data."""
  from bicross_jax.evaluation import run
  from bicross_jax.train import devices

  devices.prepare()
  task = tasks.create(model.config.task)
  examples = batches(model, where, part, task.truth)
  predictors = {"": model.step, **blind}
  return run.evaluate_all(task, predictors, examples, where.protocol, model.recipe.fields, also)


def _compile_ahead(model, where: Test) -> None:
  """Begins to compile the network while TensorFlow is loaded and the data are opened.

  What goes wrong there goes wrong again, and is told, where the network is used.
  """
  from bicross_jax.train import devices

  devices.prepare()
  background = futures.ThreadPoolExecutor(1)
  background.submit(model.compile, where.data.batch_size, where.data)
  background.shutdown(wait=False)


def _has_truth(task, where) -> bool:
  """Whether the data set has what the task judges against."""
  from bicross_jax.data import sets

  return set(task.truth) <= set(sets.get(where.data.name).fields(where.data))
