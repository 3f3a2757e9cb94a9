"""The config grammar: what is accepted, what is refused, and with which words."""

import pytest

from bicross_jax import errors
from bicross_jax.config import grammar

CONFIG = "configs/bicross.py"


@pytest.fixture(autouse=True)
def _in_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def test_stage_scenario_and_overrides():
  c = grammar.load(f"{CONFIG}:pretrain,scene,model.backbone=base", ["seed=3", "data.flip=true"])
  assert (c.stage, c.scenario, c.model.backbone, c.seed, c.data.flip) == (
    "pretrain",
    "scene",
    "base",
    3,
    True,
  )


def test_the_parent_follows_what_it_shares_and_nothing_else():
  c = grammar.load(
    f"{CONFIG}:crossmodality",
    [
      "seed=3",
      "model.backbone=small",
      "data.domain=foggy",
      "data.labelled=10",
      "train.steps=11",
      "parent.train.steps=7",
      "input.height=64",
    ],
  )
  p = c.parent
  assert (p.seed, p.model.backbone, p.data.domain, p.input.height) == (3, "small", "foggy", 64)
  assert (p.data.labelled, p.train.steps, p.input.modality) == (0, "7", "rgb")
  assert c.train.steps == "11"


@pytest.mark.parametrize(
  "spec, words",
  [
    ("configs/bicros.py", "configs/bicross.py"),
    (f"{CONFIG}:pretran", "pretrain"),
    (f"{CONFIG}:pretrain,sinthetic", "synthetic"),
    (f"{CONFIG}:pretrain,model.bakbone=tiny", "model.backbone"),
    (f"{CONFIG}:pretrain,seed=one", "int"),
    (f"{CONFIG}:pretrain,data.flip=7", "true or false"),
    (f"{CONFIG}:pretrain,model=tiny", "section"),
    (f"{CONFIG}:pretrain,train.steps.more=1", "train.steps"),
    (f"{CONFIG}:pretrain,synthetic,extra", "too many"),
  ],
)
def test_mistakes_are_one_line_that_names_the_right_ones(spec, words):
  with pytest.raises(errors.UserError) as caught:
    grammar.load(spec)
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


def test_arguments_that_are_no_config_field_are_refused():
  with pytest.raises(errors.UserError, match="--frobnicate"):
    grammar.from_flags(f"{CONFIG}:pretrain", ["--frobnicate"])


def test_durations_become_steps():
  c = grammar.load(
    f"{CONFIG}:pretrain",
    [
      "train.steps=30 epochs",
      "train.validate_every=0.5 epochs",
      "train.log_every=7",
      "train.checkpoint_every=9 steps",
      "data.batch_size=8",
    ],
  )
  t = grammar.resolve_durations(c, examples=804).train
  assert (t.steps, t.validate_every, t.log_every, t.checkpoint_every) == (3000, 50, 7, 9)
  c.train.steps = "many"
  with pytest.raises(errors.UserError, match="many"):
    grammar.resolve_durations(c, examples=8)


def test_tuples_and_empty_fields_are_read_by_type():
  c = grammar.ConfigDict({"shape": (1, 2), "path": ""})
  grammar.override(c, "shape=3,4,5")
  grammar.override(c, "path=a=b")
  assert c.shape == (3, 4, 5)
  assert c.path == "a=b"
