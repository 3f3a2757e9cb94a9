"""Runs a stage of a system: data, the stages it stands on, training, validation, evaluation."""

import pathlib

from bicross_jax import config as grammar
from bicross_jax import errors
from bicross_jax import recipes
from bicross_jax import trained
from bicross_jax.data import pipeline
from bicross_jax.evaluation import protocol as protocols
from bicross_jax.evaluation import run as evaluation
from bicross_jax.train import devices
from bicross_jax.train import loop
from bicross_jax.train import runs
from bicross_jax.train import state as train_state


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
      `config.init_from` a checkpoint to take instead.
    workdir: folder of the run; by default `default_workdir(config, root)`.
    root: folder that holds all runs; parents are found and trained there.

  Returns:
    The result of `train.loop.run`.

  Raises:
    errors.UserError: bad config, data that is not there, or a folder with another run in it.
  """
  devices.enable_compile_cache()
  initial = None
  if "parent" in config:
    parent = trained.load(config.init_from or _trained_parent(config, root))
    initial = train_state.Initial(init_from=parent.variables, teacher=parent.variables)
  data = pipeline.open(config.data, seed=config.seed)
  config = grammar.resolve_durations(config, data.sizes["train"])
  recipe = recipes.create(config)
  batches = data.batches(recipe.batch_spec())

  def validate(predict):
    return evaluation.evaluate(
        predict, batches.evaluation("validation"), protocol(config)).summary

  workdir = pathlib.Path(workdir or default_workdir(config, root))
  return loop.run(config, recipe, batches, validate, workdir, initial)


def evaluation_config(trained_config, other, overrides):
  """The config an evaluation reads its `data` and `eval` sections from.

  Args:
    trained_config: of the checkpoint.
    other: another config to take both sections from, or None.
    overrides: "data.key=value" and "eval.key=value" texts.
  """
  config = ml_collections.ConfigDict((other or trained_config).to_dict())
  for item in overrides:
    grammar.override(config, item)
  return config


def evaluate(model: trained.Trained, config, part: str, baselines: bool = True):
  """Tests a trained network.

  Args:
    model: from `trained.load`.
    config: `data` and `eval` sections say on what and how (`evaluation_config`).
    part: "train", "validation" or "test".
    baselines: also score the best constant and the per-pixel median of the depths that the
      network was trained on.

  Returns:
    (evaluation.run.Report, {baseline: summary}).
  """
  devices.enable_compile_cache()
  data = pipeline.open(config.data)
  spec = depth_recipe.field_spec(config, (model.config.input.modality,))
  batches = data.batches(spec, seed=0)
  rules = protocol(config)
  report = evaluation.evaluate(model.predict, batches.evaluation(part), rules)
  if not baselines:
    return report, {}
  home = pipeline.open(model.config.data)
  fitted = baseline.fit(home.depths("train"), rules)
  return report, {
      name: evaluation.evaluate(predict, batches.evaluation(part), rules).summary
      for name, predict in fitted.predictors().items()
  }
