"""Configs of Akada et al.: every stage in every scenario, its parents, and the published settings."""

import pytest

from bicross_jax import recipes
from bicross_jax.config import grammar, tables
from bicross_jax.train import runs
from bicross_jax.train import state as train_state

FILE = "configs/domain_invariant.py"
STAGES, SCENARIOS = grammar.choices(FILE)
PARENTS = {
  "source": {},
  "translation": {"weights": "source"},
  "ssrl": {"weights": "source", "generators": "translation"},
  "finetune": {"task": "ssrl", "generators": "translation"},
  "all": {"task": "ssrl", "generators": "translation"},
}


@pytest.fixture(autouse=True)
def _in_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def _family(config):
  """The config and all that it stands on, with duplicates."""
  yield config
  for role in config.parents:
    parent = grammar.parent(config, role)
    if parent is not None:
      yield from _family(parent)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_every_scenario_stands_on_its_parents(stage, scenario):
  config = grammar.load(f"{FILE}:{stage},{scenario}")
  real = scenario == "vkitti2kitti"
  roles = {role: p.stage for role, p in config.parents.items() if p.stage}
  want = {role: s for role, s in PARENTS[stage].items() if not (real and role == "weights")}
  assert roles == want  # of real pictures the encoder's weights are a checkpoint from elsewhere
  size = (config.data.height, config.data.width)
  for one in _family(config):  # each is checked while it is made
    assert one.scenario == scenario and (one.data.height, one.data.width) == size
  recipe = recipes.create(grammar.resolve_durations(config, 100))
  streams = train_state.streams(recipe.batch_spec())
  assert set(streams) == ({""} if stage == "source" else {"source", "target"})
  assert all(fields["rgb"].shape == (*size, 3) for fields in streams.values())


@pytest.mark.parametrize(
  "stage, steps, batch, rate, last",
  [
    ("translation", 28240, 16, 4e-4, ("abs_rel", "last")),
    ("ssrl", 17600, 128, 3.2e-3, ("simsiam", "last")),
    ("finetune", 42360, 16, 4e-4, ("abs_rel", "min")),
  ],
)
def test_real_pictures_have_the_published_settings(stage, steps, batch, rate, last):
  config = grammar.load(f"{FILE}:{stage},vkitti2kitti")
  assert (config.train.steps, config.data.batch_size, config.optim.lr) == (str(steps), batch, rate)
  assert (config.data.name, config.data.domain) == ("vkitti", "all")
  assert (config.target.name, config.target.domain) == ("kitti_stereo", "eigen_left")
  assert config.target.sensors == ("rgb",) and config.truth.sensors == ("rgb", "depth")
  for section in (config.data, config.target, config.truth):
    assert (section.height, section.width, section.crop) == (288, 960, "bicubic")
    assert section.batch_size == batch
  assert (config.model.variant, config.generator.width, config.generator.blocks) == ("b5", 64, 7)
  assert recipes.create(grammar.resolve_durations(config, 100)).metric == last
  if stage == "translation":
    assert config.translate.to_dict() == dict(adversarial=1, cycle=10, identity=100, pool=20)
    assert config.optim.gan_lr == 2e-4
  if stage == "ssrl":
    assert config.ssrl.to_dict() == dict(weight=1, shrink=3, decoder="fresh")
  else:
    weights = {name: config.loss[name] for name in ("task", "smooth", "consistency", "max_depth")}
    assert weights == dict(task=100, smooth=0.1, consistency=1, max_depth=80)
    assert config.optim.encoder == (1e-3, 1e-2, 1e-1)
  if stage == "finetune":
    assert config.freeze_bn == "always"


def test_parents_follow_the_pictures_and_networks_of_their_child():
  overrides = ("seed=3", "target.domain=foggy", "data.height=64", "model.variant=nano",
               "generator.width=12", "data.batch_size=4", "optim.lr=7")  # fmt: skip
  finetune = grammar.load(f"{FILE}:finetune", overrides)
  for one in list(_family(finetune))[1:]:
    assert (one.seed, one.data.height, one.model.variant) == (3, 64, "nano")
    assert one.optim.lr != 7
    if one.stage != "source":
      assert (one.target.domain, one.target.height, one.generator.width) == ("foggy", 64, 12)


def test_parents_are_judged_on_the_childs_target():
  overrides = ("truth.domain=listed", "truth.allow_missing=True", "target.data_dir=/elsewhere")
  for one in _family(grammar.load(f"{FILE}:finetune,vkitti2kitti", overrides)):
    assert (one.truth.domain, one.truth.allow_missing) == ("listed", True)
    assert one.truth.data_dir == "/elsewhere"
    assert one.truth.batch_size == (128 if one.stage == "ssrl" else 16)


def test_the_depth_network_may_come_from_another_stage():
  """Fine-tuning without what comes between."""
  for stage in ("source", "translation"):
    config = grammar.load(f"{FILE}:finetune,parents.task.stage={stage}")
    assert grammar.parent(config, "task").stage == stage


def test_rows_of_the_table_are_tested_on_the_target_and_share_their_parents():
  """Every row on the same scenes; the network that others start from is that of the first row."""
  table = tables.load(f"{FILE}:adaptation")
  judged = set()
  for row in table.rows.values():
    config = row.config.copy_and_resolve_references()
    for item in row.test:
      grammar.override(config, item)
    entry = config.evals[config.test]
    section = config[entry.data]
    where = ("name", "domain", "scenes", "height", "width", "test")
    judged.add((*(section[name] for name in where), str(entry.protocol.to_dict())))
  assert len(judged) == 1 and next(iter(judged))[:2] == ("world", "night")
  first, hashes = table.rows["source only"].config, {}
  for label, row in table.rows.items():
    for one in _family(row.config):
      hashes.setdefault(one.stage, set()).add(runs.config_hash(one))
    assert row.against in ("", *table.rows), label
  assert hashes["source"] == {
    runs.config_hash(first),
    runs.config_hash(table.rows["supervised on target"].config),
  }
  assert len(hashes["translation"]) == len(hashes["ssrl"]) == 1 and len(hashes["finetune"]) == 2
