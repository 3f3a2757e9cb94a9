"""Runs a stage of a system: data, the stages it stands on, training, validation, evaluation."""

from collections.abc import Sequence
import pathlib
import time

import jax
import ml_collections

from bicross_jax import errors, inference, recipes, tasks
from bicross_jax.config import grammar
from bicross_jax.data import pipeline
from bicross_jax.evaluation import run as evaluation
from bicross_jax.models import transfer
from bicross_jax.recipes.bicross import common as depth_recipe
from bicross_jax.tasks.depth import protocol as protocols
from bicross_jax.train import checkpoints, devices, loop, processes, runs
from bicross_jax.train.state import Initial

TASK = tasks.create("depth")
_TARGET_ORDER = 1 << 32  # keeps the order of the target's examples apart from that of the source's


def default_workdir(config, root="runs") -> pathlib.Path:
  """runs/<system>/<stage>-<scenario>-s<seed>, the folder of a run that was given no other."""
  return pathlib.Path(root) / config.system / f"{config.stage}-{config.scenario}-s{config.seed}"


def protocol(config) -> protocols.Protocol:
  """The evaluation protocol of a config's `eval` section."""
  return protocols.Protocol(**config.eval)


def run(config, workdir=None, root="runs") -> dict:
  """Trains the stage of `config`, after the stage it starts from where that is not trained yet.

  Args:
    config: from a file in configs/; `config.parent`, if any, is the stage it starts from and
      `config.init_from` a checkpoint to take instead. `config.distributed`, if any, says which
      of several processes this is (`train.processes.start`).
    workdir: folder of the run; by default `default_workdir(config, root)`.
    root: folder that holds all runs; parents are found and trained there.

  Returns:
    The result of `train.loop.run`.

  Raises:
    errors.UserError: bad config, data that is not there, or a folder with another run in it.
  """
  processes.start(config.get("distributed"))
  devices.enable_compile_cache()
  began = time.perf_counter()
  data = pipeline.open(config.data)
  target = pipeline.open(config.target, "target") if "target" in config else None
  opened = time.perf_counter() - began
  if opened > 1:
    processes.say(f"data: {opened:.1f} s ({data.folder})")
  config = grammar.resolve_durations(config, data.sizes["train"])
  initial = _initial(config, root)
  recipe = recipes.create(config)
  batches, judged = _batches(config, data, target, recipe.batch_spec())
  rules = protocol(config)

  def validate(predict):
    batches = judged.evaluation("validation")
    return evaluation.evaluate(TASK, _without_carry(predict), batches, rules).summary

  folder = workdir or default_workdir(config, root)
  with errors.writing(folder):
    return loop.run(config, recipe, batches, validate, folder, initial)


def _batches(config, data, target, spec):
  """(what to train on, what to validate on); a target's labels serve only under `oracle`."""
  if target is None:
    batches = data.batches(spec, seed=config.seed)
    return batches, batches
  source = data.batches(spec["source"], seed=config.seed)
  target = target.batches(spec["target"], seed=config.seed + _TARGET_ORDER)
  streams = pipeline.Streams({"source": source, "target": target})
  return streams, target if config.oracle else source


def _initial(config, root) -> Initial | None:
  """What the stage starts from: `init_from`, or its parent, which is trained first if need be."""
  if "parent" not in config:
    return _weights(config) if config.get("init_from") else None
  if config.init_from:
    processes.say(f"{config.stage} starts from {config.init_from}")
    start = inference.load(config.init_from)
    absent = _absent(config.parent, start.variables)
    if absent:
      raise errors.UserError(
        f"{config.init_from} has no {', '.join(absent)}, and {config.stage} "
        f"starts from a whole network"
      )
  else:
    folder, done = processes.by_first(lambda: run_folder(config.parent, root))
    if done:
      processes.say(f"{config.stage} starts from {folder}")
    else:
      processes.say(
        f"{config.stage} starts from stage {config.parent.stage}, which is not trained yet: "
        f"training it first, in {folder}"
      )
      run(config.parent, folder, root)
    start = inference.load(folder)
  return Initial(init_from=start.variables, teacher=start.variables)


def _weights(config) -> Initial:
  """The weights `init_from` for a stage that stands on no other; they may lack whole modules."""
  variables, _ = checkpoints.restore_variables(checkpoints.find(config.init_from))
  absent = _absent(config, variables)
  fresh = f"; new and random: {', '.join(absent)}" if absent else ""
  processes.say(f"{config.stage} starts from {config.init_from}{fresh}")
  return Initial(init_from=variables)


def _absent(config, variables) -> list[str]:
  """The modules of a config's network that variables lack; UserError where they do not fit it."""
  module = depth_recipe.network(config)
  key = jax.random.key(0)
  shapes = jax.eval_shape(lambda key: depth_recipe.initialise(config, module, key), key)
  return transfer.adopt(shapes, variables)[1]


def run_folder(config, root="runs", *, spare_default=False) -> tuple[str, bool]:
  """The folder of a run that was given no other, and whether that run is finished.

  It is the default folder, or one beside it that the config's hash names: where that is there, or
  where the default folder holds a run of another config.

  Args:
    config: of the stage.
    root: folder that holds all runs.
    spare_default: do not begin a run in the default folder.
  """
  data = pipeline.open(config.data)
  config = grammar.resolve_durations(config, data.sizes["train"])
  folder = default_workdir(config, root)
  named = folder.with_name(f"{folder.name}-{runs.config_hash(config)[:8]}")
  file = folder / runs.CONFIG
  if file.is_file():
    other = bool(runs.differences(runs.read_json(file), config))
  else:
    other = spare_default or named.is_dir()
  folder = named if other else folder
  return str(folder), runs.finished(folder) is not None


def chain(config, workdir=None, root="runs") -> list[pathlib.Path]:
  """The folders of a finished run and of those it stands on, the first stage first."""
  folder = pathlib.Path(workdir or default_workdir(config, root))
  if "parent" not in config:
    return [folder]
  if config.init_from:
    return [pathlib.Path(config.init_from), folder]
  return [*chain(config.parent, run_folder(config.parent, root)[0], root), folder]


def evaluation_config(trained_config, other=None, overrides: Sequence[str] = ()):
  """The config of a trained network with other data and another protocol.

  A network that was adapted to a target is tested there unless told otherwise, and any network
  on the target of another config that has one.

  Args:
    trained_config: of the checkpoint.
    other: a config to take the sections `data` (or `target`) and `eval` from, or None.
    overrides: "data.key=value" and "eval.key=value" texts.
  """
  config = ml_collections.ConfigDict(trained_config.to_dict())
  if "target" in config:
    config.data = config.target
  if other is not None:
    config.data, config.eval = other.get("target", other.data), other.eval
  for item in overrides:
    grammar.override(config, item)
  return config


def evaluate(model: inference.Trained, config, part: str) -> evaluation.Report:
  """Tests a trained network.

  Args:
    model: from `inference.load`.
    config: says on what data and by which protocol (`evaluation_config`).
    part: "train", "validation" or "test".
  """
  devices.enable_compile_cache()
  batches = _examples(config).evaluation(part)
  return evaluation.evaluate(TASK, _without_carry(model.predict), batches, protocol(config))


def baselines(model: inference.Trained, config, part: str) -> dict[str, dict[str, float]]:
  """Two predictors that never look at the input, through the same protocol.

  Args:
    model, config, part: as for `evaluate`.

  Returns:
    {baseline: summary}: the best constant and the per-pixel median of the depths that the network
    was trained on.
  """
  rules = protocol(config)
  depths = pipeline.open(model.config.data).depths("train")
  fitted = TASK.baselines(({"depth": depth} for depth in depths), rules)
  reports = evaluation.evaluate_all(TASK, fitted, _examples(config).evaluation(part), rules)
  return {name: report.summary for name, report in reports.items()}


def _without_carry(predict):
  return lambda batch, carry: (predict(batch), carry)


def _examples(config):
  """What a network of `config` is tested on."""
  spec = depth_recipe.field_spec(config, (config.input.modality,))
  return pipeline.open(config.data).batches(spec, seed=0)
