"""The configs of the toy system (tests/systems/toy.py): depth without labels, then classes."""

import pathlib

from bicross_jax.config import grammar, sections

STAGES = ("segment", "stereo")
SCENARIOS = ("smoke",)
BICROSS = pathlib.Path(__file__).resolve().parents[3] / "configs" / "bicross.py"


def get_config(arg=""):
  stage, scenario, overrides = grammar.split_arg(arg, STAGES, SCENARIOS)
  config = sections.base("toy", {"stereo": "depth", "segment": "classes"}[stage])
  config.update(stage=stage, scenario=scenario, recipe="tests.systems.toy:create")
  config.data = sections.world("plain")
  config.data.update(name="squares", height=16, width=32, train=8, validation=4, test=5)
  config.data.update(batch_size=4)
  config.model = dict(width=4)
  config.optim = dict(rate=0.02, second_rate=0.01)
  config.train.update(steps="3", log_every="1", validate_every="3", checkpoint_every="3")
  if stage == "stereo":
    config.evals = dict(source=sections.evaluation("depth", crop="none"))
  else:
    config.evals = dict(source=sections.evaluation("classes", classes=3))
    config.data.update(sequence=4, batch_size=2)
    config.loss = dict(auxiliary=0.1)
    config.parents.teacher = sections.parent(
      "pretrain", file=str(BICROSS), scenario="smoke", follow=("seed",)
    )
    config.parents.stem = sections.parent(
      "stereo", follow=("seed", "model", "data", "-data.sequence", "-data.batch_size")
    )
  for item in overrides:
    grammar.override(config, item)
  return config
