"""The config grammar: what is accepted, what is refused, and with which words."""

import json
import re

import pytest

from bicross_jax import errors
from bicross_jax.config import check as checks
from bicross_jax.config import grammar, tables

CONFIG = "configs/bicross.py"
MINE = """
import ml_collections
from bicross_jax.config import sections
{code}
"""


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
  assert c.file == CONFIG


def test_the_parent_follows_what_it_shares_and_nothing_else():
  c = grammar.load(
    f"{CONFIG}:crossmodality",
    [
      "seed=3",
      "model.backbone=small",
      "data.domain=foggy",
      "data.labelled=10",
      "train.steps=11",
      "parents.teacher.train.steps=7",
      "input.height=64",
      "loss.max_depth=50",
      "evals.source.protocol.max_depth=40",
    ],
  )
  p = grammar.parent(c, "teacher")
  assert (p.stage, p.seed, p.model.backbone, p.data.domain) == ("pretrain", 3, "small", "foggy")
  assert (p.input.height, p.loss.max_depth, p.evals.source.protocol.max_depth) == (64, 50, 80)
  assert (p.data.labelled, p.train.steps, p.input.modality) == (0, "7", "rgb")
  assert c.train.steps == "11"


def test_a_config_holds_no_copy_of_a_parents_fields():
  c = grammar.load(f"{CONFIG}:crossdomain")
  names = {name for name, _ in checks.flatten(c) if name.startswith("parents.")}
  fields = ("stage", "scenario", "file", "checkpoint", "follow", "change")
  assert names == {f"parents.student.{name}" for name in fields}


def test_a_change_reaches_the_parent_of_a_parent():
  c = grammar.load(f"{CONFIG}:crossdomain,parents.student.parents.teacher.photometric=0.5")
  teacher = grammar.parent(grammar.parent(c, "student"), "teacher")
  assert (teacher.stage, teacher.photometric) == ("pretrain", 0.5)


def test_a_checkpoint_takes_the_place_of_a_parent():
  c = grammar.load(f"{CONFIG}:crossmodality,parents.teacher.checkpoint=runs/mine")
  assert grammar.parent(c, "teacher") is None


def test_a_parent_of_another_system_has_its_own_file(tmp_path):
  file = tmp_path / "mine.py"
  code = MINE.format(
    code=f"""
from bicross_jax.config import grammar
def get_config(arg):
  config = grammar.load("{CONFIG}:pretrain,smoke")
  config.parents.other = sections.parent("pretrain", file="{CONFIG}", scenario="smoke")
  return config
"""
  )
  file.write_text(code)
  c = grammar.load(f"{file}:")
  assert c.file == str(file)
  p = grammar.parent(c, "other")
  assert (p.file, p.stage, p.scenario) == (CONFIG, "pretrain", "smoke")


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
    (f"{CONFIG}:crossmodality,parents.teecher.stage=pretrain", "parents.teacher"),
    (f"{CONFIG}:crossmodality,parents.teacher.stage=pretran", "pretrain"),
    (f"{CONFIG}:crossmodality,parents.teacher.stage=crossmodality", "starts from itself"),
    (f"{CONFIG}:crossmodality,parents.teacher.train.step=3", "parents.teacher: unknown"),
  ],
)
def test_mistakes_are_one_line_that_names_the_right_ones(spec, words):
  with pytest.raises(errors.UserError) as caught:
    grammar.load(spec)
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


WRONG = {  # field=value: words of the message
  "data.batch_size=0": "1 to 65536",
  "data.height=0": "1 to 16384",
  "data.width=-64": "1 to 16384",
  "data.steps=12": "multiple of 8",
  "data.train=-1": "0 to",
  "data.limit=-1": "0 to",
  "data.crop=left": "bottom, random, none",
  "data.name=": "name of a data set",
  "seed=-1": "0 to 2147483647",
  "seed=99999999999": "0 to 2147483647",
  "input.height=33": "multiple of 32",
  "input.width=0": "32 to",
  "input.modality=event": "rgb, spike",
  "model.backbone=huge": "hybrid",
  "model.scale=0": "above 0",
  "model.dtype=float16": "bfloat16",
  "model.stem_bins=7": "does not divide",
  "loss.depth=sog": "sig, ssi, mse",
  "loss.crop=mid": "none, garg, eigen",
  "loss.min_depth=90": "below max_depth",
  "loss.max_depth=inf": "finite",
  "optim.head_lr=nan": "finite",
  "optim.head_lr=-1": "at least 0",
  "optim.warmup=-1": "0 to",
  "optim.schedule=step": "constant, cosine",
  "optim.plateau_factor=0": "above 0",
  "distill.fine=-1": "at least 0",
  "student_init=rbg": "rgb, inflate, scratch",
  "recipe=nocolon": "module:create",
  "recipe=os:abort": "module:create",
  "recipe=sys:create": "cannot make code run|no recipe of this package|no function",
  "recipe=bicross_jax.recipes.nothing:create": "no module",
  "train.steps=0": "more than nothing",
  "train.steps=-3": "no duration",
  "train.steps=0.5": "whole numbers",
  "train.log_every=soon": "no duration",
  "task=depht": "depth",
  "evals.source.data=date": "no such section",
  "evals.source.protocol.crop=mid": "none, garg, eigen",
  "evals.source.protocol.min_depth=90": "protocol",
  "validate=targt": "evals.targt",
  "validate=()": "at least 1",
  "test=target": "evals.target",
  "parents.teacher.checkpoint=": "a folder",
  "distributed.processes=0": "1 to",
}


@pytest.mark.parametrize("item", WRONG)
def test_every_field_has_a_range_or_choices(item):
  with pytest.raises(errors.UserError) as caught:
    config = grammar.load(f"{CONFIG}:crossmodality", [item])
    checks.recipe_module(config)  # what a checkpoint with that config would meet
  assert re.search(WRONG[item], str(caught.value)), caught.value
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("item", [i for i in WRONG if not i.startswith(("recipe=sys", "parents"))])
def test_a_checkpoints_config_is_checked_like_any_other(item):
  config = grammar.load(f"{CONFIG}:crossmodality")
  plain = json.loads(json.dumps(config.to_dict()))
  *sections, leaf = item.partition("=")[0].split(".")
  node = plain
  for name in sections:
    node = node[name]
  before, text = node[leaf], item.partition("=")[2]
  if isinstance(before, list):
    text = [text] if text != "()" else []
  elif isinstance(before, int | float) and not isinstance(before, bool):
    text = float(text) if isinstance(before, float) else int(text)
  elif leaf == "processes":
    text = int(text)
  node[leaf] = text
  with pytest.raises(errors.UserError) as caught:
    checks.check(grammar.from_plain(plain))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, [], {}, "many", 1e400, True])
def test_fields_of_another_type_in_a_checkpoint_are_refused(value):
  plain = grammar.load(f"{CONFIG}:pretrain").to_dict()
  plain["data"]["batch_size"] = value
  with pytest.raises(errors.UserError, match="data.batch_size"):
    checks.check(grammar.from_plain(plain))


def test_every_field_keeps_its_type_through_a_checkpoint():
  config = grammar.load(f"{CONFIG}:crossdomain,scene,data.parts.train=a,seed=2")
  back = grammar.from_plain(json.loads(json.dumps(config.to_dict())))
  assert dict(checks.flatten(back)) == dict(checks.flatten(config))
  for item in ("data.data_dir=/a", "distributed.processes=2", "validate=target", "seed=4"):
    grammar.override(back, item)
  assert (back.data.data_dir, back.distributed.processes) == ("/a", 2)
  assert (back.validate, back.seed) == (("target",), 4)


def test_a_checkpoint_cannot_name_code_that_nobody_trusts():
  plain = grammar.load(f"{CONFIG}:pretrain").to_dict()
  for recipe in ("antigravity:create", "os:abort", "tests.trust.sixth:create"):
    plain["recipe"] = recipe
    with pytest.raises(errors.UserError, match="recipe"):
      checks.check(grammar.from_plain(plain))


BROKEN = {
  "def get_config(arg):\n  return (": "line",
  "x = 1": "get_config",
  "def get_config(arg):\n  return None": "NoneType",
  "def get_config(arg):\n  return {}": "dict",
  "def get_config(arg):\n  raise RuntimeError('no\\nway')": "RuntimeError: no way",
  "import nothing_of_that_name": "nothing_of_that_name",
  "def get_config(arg):\n  return ml_collections.ConfigDict({'seed': 1})": "has no system",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_config_file_is_one_line(code, tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(MINE.format(code=code))
  with pytest.raises(errors.UserError) as caught:
    grammar.load(f"{file}:stage")
  assert (
    BROKEN[code] in str(caught.value)
    and str(file) in str(caught.value)
    or "has no" in code + str(caught.value)
  )
  assert "\n" not in str(caught.value)


def test_arguments_that_are_no_config_field_are_refused():
  with pytest.raises(errors.UserError, match="--frobnicate"):
    grammar.overrides_of(["--frobnicate"], "--config.")


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
  r = grammar.resolve_durations(c, 85)
  assert (r.train.steps, r.train.validate_every) == (300, 5)
  assert (r.train.log_every, r.train.checkpoint_every) == (7, 9)
  assert c.train.steps == "30 epochs"


def test_stages_and_scenarios_of_a_file_can_be_listed():
  stages, scenarios = grammar.choices(CONFIG)
  assert "crossdomain" in stages and {"synthetic", "smoke", "respike"} <= set(scenarios)


def test_tables_stand_beside_their_config_file():
  table = tables.load(f"{CONFIG}:gap", ["train.steps=20"])
  assert {row.config.train.steps for row in table.rows.values()} == {"20"}
  assert table.columns[0] == "abs_rel"


TABLES = {
  "def get_tables():\n  return [": "line",
  "x = 1": "get_tables",
  "def get_tables():\n  return 3": "no {name: table}",
  "def get_tables():\n  return {'other': 3}": "other",
  "def get_tables():\n  return {'mine': 3}": "no table with rows",
}


@pytest.mark.parametrize("code", TABLES)
def test_a_broken_table_file_is_one_line(code, tmp_path):
  (tmp_path / "tables").mkdir()
  (tmp_path / "mine.py").write_text("")
  (tmp_path / "tables" / "mine.py").write_text(code)
  with pytest.raises(errors.UserError) as caught:
    tables.load(f"{tmp_path / 'mine.py'}:mine")
  assert TABLES[code] in str(caught.value)
  assert "\n" not in str(caught.value)
