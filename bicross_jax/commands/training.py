"""Runs a stage of a system: data, the stages it stands on, training and validation."""

from collections.abc import Callable, Mapping
import pathlib
import time
from typing import Any

import jax
import jax.extend

from bicross_jax import cameras, errors, inference, recipes, tasks
from bicross_jax.config import grammar
from bicross_jax.evaluation import run as evaluation
from bicross_jax.train import checkpoints, devices, loop, processes, runs, state

_TARGET_ORDER = 1 << 32  # keeps the order of another stream's examples apart from the first one's


def default_workdir(config, root="runs") -> pathlib.Path:
  """runs/<system>/<stage>-<scenario>-s<seed>, the folder of a run that was given no other."""
  return pathlib.Path(root) / config.system / f"{config.stage}-{config.scenario}-s{config.seed}"


def run(config, workdir=None, root="runs") -> dict:
  """Trains the stage of `config`, after the stages it starts from where those are not trained yet.

  Args:
    config: from a config file, checked; `config.parents` says what it starts from, and
      `config.distributed`, if any, which of several processes this is (`train.processes.start`).
    workdir: folder of the run; by default `default_workdir(config, root)`.
    root: folder that holds all runs; parents are found and trained there.

  Returns:
    The result of `train.loop.run`.

  Raises:
    errors.UserError: data or a checkpoint that is not there, or a folder with another run in it.
  """
  from bicross_jax.data import pipeline  # loads TensorFlow, which naming a run does without

  processes.start(config.get("distributed"))
  devices.prepare()
  checkpoints_given = {
    role: checkpoints.find(section.checkpoint)
    for role, section in config.get("parents", {}).items()
    if section.checkpoint is not None
  }
  began = time.perf_counter()
  opened = {
    name: pipeline.open(config[name], name, parts) for name, parts in _sections(config).items()
  }
  spent = time.perf_counter() - began
  if spent > 1:
    folders = ", ".join(str(data.folder) for data in opened.values())
    processes.say(f"data: {spent:.1f} s ({folders})")
  parents = {
    **{role: _restored(config, role, folder) for role, folder in checkpoints_given.items()},
    **_trained_parents(config, root),
  }
  examples = opened["data"].sizes["train"]
  resolved = grammar.resolve_durations(config, examples)
  recipe = recipes.create(resolved, grammar.trusted(config))
  if new := _new_modules(recipe, parents):
    processes.say(f"{config.stage}: new and random, parents.weights has none: {', '.join(new)}")
  folder = workdir or default_workdir(config, root)
  with errors.writing(folder):
    return loop.run(
      config,
      recipe,
      _batches(config, opened, recipe),
      _validation(config, opened, recipe),
      folder,
      parents,
      durations=resolved.train,
      examples=examples,
      about={"camera": cameras.trained(resolved, recipe)},
    )


def _sections(config) -> dict[str, list[str]]:
  """The sections of a config that name data for training or validation, with the parts needed."""
  sections = {"data": ["train"]} | ({"target": ["train"]} if "target" in config else {})
  for name in dict.fromkeys(config.evals[name].data for name in config.validate):
    sections.setdefault(name, []).append("validation")
  return sections


def _batches(config, opened, recipe):
  """What a recipe trains on: one stream, or several by name, of which "source" is section `data`."""
  from bicross_jax.data import pipeline

  streams = {}
  for number, (name, spec) in enumerate(state.streams(recipe.batch_spec()).items()):
    section = opened["data" if name in ("", "source") else name]
    streams[name] = section.batches(
      spec, seed=config.seed + number * _TARGET_ORDER, own_fields=recipe.fields
    )
  return streams[""] if "" in streams else pipeline.Streams(streams)


def _validation(config, opened, recipe) -> Callable:
  """(predict, score) -> {metric: value} over the entries of `evals` that `validate` names.

  The first entry's metrics have plain names, those of others "<entry>/<metric>". `predict` and
  `score` (None where the recipe has none) take a batch, and have the variables already.
  """
  task = tasks.create(config.task)
  judged = {}
  for name in config.validate:
    section = config.evals[name]
    data = opened[section.data]
    spec = inference.input_spec(recipe, config[section.data])
    if recipe.score is not None:
      first, *_ = state.streams(recipe.batch_spec()).values()
      spec = {**first, **spec}
    judged[name] = data.batches(spec, seed=config.seed, own_fields=recipe.fields)

  def validate(predict, score=None):
    out = {}
    for number, (name, batches) in enumerate(judged.items()):
      if score is not None:
        found = evaluation.score(score, batches.evaluation("validation", truth=()))
      else:
        protocol = task.protocol(**config.evals[name].protocol)
        batches = batches.evaluation("validation", truth=task.truth)
        found = evaluation.evaluate(task, predict, batches, protocol, recipe.fields).summary
        found = {k: v for k, v in found.items() if isinstance(v, int | float)}
      out.update({f"{name}/{k}" if number else k: v for k, v in found.items()})
    return out

  return validate


def _restored(config, role, folder) -> Mapping[str, Any]:
  """The variables of the checkpoint in a folder."""
  processes.say(f"{config.stage}: parents.{role} is {folder}")
  return checkpoints.restore_variables(folder)[0]


def _new_modules(recipe, parents) -> list[str]:
  """What a recipe publishes and no parent gives, networks or their modules, if there is a parent `weights`."""
  if "weights" not in parents:
    return []
  fresh = lambda given: recipe.variables(recipe.init(jax.random.key(0), given))
  traced, shapes = jax.make_jaxpr(fresh, return_shape=True)(dict(parents))
  taken = set(traced.jaxpr.invars)
  is_taken = lambda v: isinstance(v, jax.extend.core.Var) and v in taken
  for equation in traced.eqns:
    if any(map(is_taken, equation.invars)):
      taken.update(equation.outvars)
  given = jax.tree.unflatten(jax.tree.structure(shapes), map(is_taken, traced.jaxpr.outvars))
  return sorted(_new(given["params"], inside=len(recipe.networks) > 1))


def _new(given, *, inside) -> list[str]:
  """The names of subtrees without a True; `inside`: also within the others."""
  out = []
  for name, tree in given.items():
    if not any(jax.tree.leaves(tree)):
      out.append(name)
    elif inside:
      out += [f"{name}/{part}" for part in _new(tree, inside=False)]
  return out


def _trained_parents(config, root) -> dict[str, Mapping[str, Any]]:
  """{role: variables} of the stages that a config starts from, each trained first if need be."""
  out = {}
  for role in config.get("parents", {}):
    parent = grammar.parent(config, role)
    if parent is None:
      continue
    folder, done = processes.by_first(lambda parent=parent: run_folder(parent, root))
    if not done:
      processes.say(
        f"{config.stage} starts from stage {parent.stage}, which is not trained yet: "
        f"training it first, in {folder}"
      )
      run(parent, folder, root)
    out[role] = _restored(config, role, checkpoints.find(folder))
  return out


def run_folder(config, root="runs", *, spare_default=False) -> tuple[str, bool]:
  """The folder of a run that was given no other, and whether that run is finished.

  It is the default folder, or one beside it that the config's hash names: where that is there, or
  where the default folder holds a run of another config. No data is opened.

  Args:
    config: of the stage.
    root: folder that holds all runs.
    spare_default: do not begin a run in the default folder.
  """
  folder = default_workdir(config, root)
  named = folder.with_name(f"{folder.name}-{runs.config_hash(config)[:8]}")
  file = folder / runs.CONFIG
  if file.is_file():
    other = bool(runs.differences(runs.read_config(folder), config))
  else:
    other = spare_default or named.is_dir()
  folder = named if other else folder
  return str(folder), runs.finished(folder) is not None


def chain(config, workdir=None, root="runs") -> list[pathlib.Path]:
  """The folders of a finished run and of those it stands on, the first stage first."""
  folder = pathlib.Path(workdir or default_workdir(config, root))
  out = []
  for role, section in config.get("parents", {}).items():
    parent = grammar.parent(config, role)
    if parent is not None:
      out += chain(parent, run_folder(parent, root)[0], root)
    elif section.checkpoint is not None:
      out.append(pathlib.Path(section.checkpoint))
  return [*dict.fromkeys(out), folder]
