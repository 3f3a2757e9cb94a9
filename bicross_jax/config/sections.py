"""Sections that the configs of all systems share, with their defaults. Each call makes a new one."""

from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import ConfigDict

from bicross_jax import tasks

# What a stage's parents share with it: the seed, and the data but for how much of it is used.
FOLLOW = (
  "seed",
  "conv",
  "task",
  "data",
  "-data.batch_size",
  "-data.limit",
  "-data.labelled",
  "-data.oversample_labelled",
)


def placeholder(kind: type = str) -> Any:
  """A field that is not set: None, until a value of that type is given."""
  return ml_collections.config_dict.placeholder(kind)


def base(system: str, task: str) -> ConfigDict:
  """What a config of any system has, but for `data`, `evals` and what is the system's own."""
  return ConfigDict(
    dict(
      system=system,
      stage="",
      scenario="",
      recipe="",  # "module:function"
      file="",  # of the config; filled in when it is loaded
      seed=0,
      conv="fast",
      task=task,
      train=train(),
      validate=("source",),  # the entries of `evals` that training validates on
      test="source",  # and the one that scripts test on
      parents=dict(),
      report=False,  # test every stage of the chain when the last is trained
      distributed=distributed(),
    )
  )


def train() -> ConfigDict:
  """How long, and how often: numbers of steps, or "30 epochs"."""
  return ConfigDict(dict(steps="400", log_every="50", validate_every="200", checkpoint_every="400"))


def distributed() -> ConfigDict:
  """Which of several processes this is; all None: what the environment says, else the only one."""
  return ConfigDict(
    dict(
      coordinator=placeholder(),  # host:port of process 0
      processes=placeholder(int),
      process=placeholder(int),
    )
  )


def world(domain: str = "clear") -> ConfigDict:
  """The synthetic world."""
  return ConfigDict(
    dict(
      name="world",
      domain=domain,
      data_dir=placeholder(),  # where the set is kept; None: the user's cache
      height=96,
      width=160,
      steps=128,  # of a spike stream
      bins=1,  # of event counts: parts of equal length that an event window is divided into
      cameras=2,  # of event counts: 1 is the left camera alone
      sensors=(),  # the fields that are rendered; (): all
      baseline=0.0,  # metres between the cameras of a stereo pair; 0: as the domain has them
      scenes=0,  # which of the domain's scenes: another number, other ones
      train=500,
      validation=100,
      test=100,
      **_use(),
    )
  )


def real(name: str, domain: str, height: int, width: int) -> ConfigDict:
  """A data set of files; height and width are of what is cut out of its frames."""
  return ConfigDict(
    dict(
      name=name,
      domain=domain,
      data_dir=placeholder(),  # the folder that holds the set's tree
      height=height,
      width=width,
      steps=128,  # of a spike stream
      sensors=(),  # the fields that are used; (): what the set has by default
      allow_missing=False,  # leave out frames that lack files
      parts=dict(train=(), validation=(), test=()),  # drives or frames of domain "listed"
      **_use(),
    )
  )


def recordings(name: str, domain: str, height: int, width: int) -> ConfigDict:
  """A data set of files whose recordings are cut into windows of events."""
  config = real(name, domain, height, width)
  with config.unlocked():
    config.update(
      bins=1,  # of event counts: parts of equal length that an event window is divided into
      cameras=2,  # of event counts: 1 is the left camera alone
      binning="timestamps",  # how windows of events lie: by the stamps of depth; "legacy": by count
      closing=True,  # fill small holes of depth where the set's authors do
    )
  return config


def _use() -> dict[str, Any]:
  """How the examples of a set are used."""
  return dict(
    limit=0,  # use only so many training examples; 0: all
    labelled=0,  # keep labels in only so many training examples; 0: in all
    oversample_labelled=False,  # half of every batch comes from the labelled ones
    batch_size=8,
    flip=True,  # random horizontal flips
    crop="bottom",  # bottom (centred), random, none, resize
    sequence=0,  # windows of a recording that are trained on in a row; 0: single examples
  )


def evaluation(task: str, data: str = "data", protocol: str = "", **fields: Any) -> ConfigDict:
  """An entry of `evals`: a section of the config, and how predictions on it are judged.

  Args:
    task: its protocols are meant.
    data: the section.
    protocol: one of the task's by name; "": its defaults.
    **fields: of the protocol, that differ.
  """
  known = tasks.create(task)
  chosen = known.protocols[protocol] if protocol else known.protocol()
  return ConfigDict(dict(data=data, protocol=chosen._replace(**fields)._asdict()))


def parent(
  stage: str | None,
  *,
  follow: tuple[str, ...] = FOLLOW,
  change: tuple[str, ...] = (),
  file: str | None = None,
  scenario: str | None = None,
) -> ConfigDict:
  """An entry of `parents`: what a stage starts from.

  Args:
    stage: it is trained first where it is not there; None: nothing, unless a checkpoint is given.
    follow: fields and sections that have the child's values ("-data.limit": but not that one).
    change: "key=value" of fields that differ.
    file: the config file of another system; None: the child's.
    scenario: another than the child's.
  """
  out = ConfigDict(
    dict(
      stage=placeholder(),
      scenario=placeholder(),
      file=placeholder(),
      checkpoint=placeholder(),  # start from this one instead
      follow=follow,
      change=change,
    )
  )
  given: Mapping[str, Any] = dict(stage=stage, scenario=scenario, file=file)
  out.update({name: value for name, value in given.items() if value is not None})
  return out
