"""The real scenarios of BiCross: their published settings; a source and a target side by side."""

import jax
import numpy as np
import pytest

from bicross_jax import errors, recipes, tasks
from bicross_jax.commands import evaluate, training
from bicross_jax.config import grammar
from bicross_jax.data import pipeline, sets
from bicross_jax.evaluation import run as evaluation
from bicross_jax.recipes.bicross import common
from bicross_jax.train import devices
from bicross_jax.train import state as train_state
from tests.data import trees

ROAD, INDOOR = (384, 6.016e-5, 0.00579), (224, 3.05e-4, 0.1378)  # input size, scale, shift
SCENARIOS = {  # set, domain and view of source and target; constants; cap (docs/systems/bicross.md)
  "syn2real": (("vkitti", "clone", 352, 1216), ("kitti", "partial", 352, 1216), ROAD, 80),
  "weather_foggy": (
    ("drivingstereo_weather", "cloudy", 384, 864),
    ("drivingstereo_weather", "foggy", 384, 864),
    ROAD,
    80,
  ),
  "weather_rainy": (
    ("drivingstereo_weather", "cloudy", 384, 864),
    ("drivingstereo_weather", "rainy", 384, 864),
    ROAD,
    80,
  ),
  "scene": (("kitti", "eigen", 352, 1216), ("drivingstereo", "selected", 384, 864), ROAD, 80),
  "respike": (("nyu", "lists", 480, 640), ("respike", "indoor", 250, 400), INDOOR, 10),
  "respike_outdoor": (("nyu", "lists", 480, 640), ("respike", "outdoor", 250, 400), INDOOR, 80),
}
STEPS = 64  # the shortest streams that are augmented
STAGES = {
  "pretrain": ("30 epochs", 16),
  "crossmodality": ("10 epochs", 8),
  "crossdomain": ("20 epochs", 8),
}


@pytest.fixture(autouse=True)
def _in_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def _load(words, *overrides):
  return grammar.load(f"configs/bicross.py:{words}", overrides)


def _where(section):
  return section.name, section.domain, section.height, section.width


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_real_scenario_has_the_published_settings(scenario, stage):
  source, target, (size, scale, shift), cap = SCENARIOS[scenario]
  config = _load(f"{stage},{scenario}")
  while config is not None:  # a stage and those it starts from
    steps, rows = STAGES[config.stage]
    assert _where(config.data) == source
    assert config.data.domain in sets.SETS[config.data.name].domains
    assert (config.input.height, config.input.width) == (size, size)
    model = config.model
    assert (model.scale, model.shift, model.backbone) == (scale, shift, "hybrid")
    assert (config.loss.max_depth, config.loss.crop) == (cap, "garg")
    for judged in config.evals.values():
      assert (judged.protocol.max_depth, judged.protocol.crop) == (cap, "garg")
    assert (config.train.steps, config.data.batch_size, config.data.steps) == (steps, rows, 128)
    optim = config.optim
    assert (optim.backbone_lr, optim.head_lr, optim.extra_lr) == (1e-5, 1e-4, 1e-5)
    assert (optim.plateau_factor, optim.plateau_patience) == (0.1, 10)
    if config.stage == "crossdomain":
      assert _where(config.target) == target
      assert config.target.domain in sets.SETS[config.target.name].domains
      assert (config.adapt.alpha, config.adapt.reverse) == (0.999, 0.01)
    parents = [grammar.parent(config, role) for role in config.parents]
    config = parents[0] if parents else None


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_folder_serves_the_target_only_where_it_holds_the_same_set(scenario):
  config = _load(f"crossdomain,{scenario}", "data.data_dir=/a")
  student = grammar.parent(config, "student")
  assert student.data.data_dir == grammar.parent(student, "teacher").data.data_dir == "/a"
  if scenario.startswith("weather"):
    assert config.target.data_dir == "/a"
    return
  assert config.target.data_dir is None
  grammar.override(config, "target.data_dir=/b")
  assert (config.data.data_dir, config.target.data_dir) == ("/a", "/b")


def test_partial_kitti_can_be_exchanged_for_the_eigen_split():
  config = _load("crossdomain,syn2real,target.domain=eigen")
  assert _where(config.target) == ("kitti", "eigen", 352, 1216)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
  """KITTI and DrivingStereo, a few frames in their native sizes: (kitti, drivingstereo, truth)."""
  folder = tmp_path_factory.mktemp("scene")
  drive = "2011_09_26_drive_0035"
  kitti = [
    (
      f"{drive[:10]}/{drive}/{i}",
      f"input/{drive}/rgb/{i}.png",
      f"input/{drive}/spike/npy/{i}.npy",
      f"input/{drive}/depth/{i}.png",
    )
    for i in range(1)
  ]
  trees.write(folder / "kitti", trees.Case("kitti", "listed", {"all": kitti}), (375, 1242), STEPS)
  stereo = [
    row
    for part in ("train", "test")
    for row in trees.CASES["drivingstereo published"].frames[part]
    if "2018-07-31-11-07-48" in row[0] or part == "test"
  ]
  truth = trees.write(
    folder / "stereo", trees.Case("drivingstereo", "selected", {"all": stereo}), (400, 881), STEPS
  )
  return folder / "kitti", folder / "stereo", truth


@pytest.fixture
def config(scene, tmp_path_factory, monkeypatch):
  """crossdomain,scene on those frames, with the smallest network."""
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path_factory.mktemp("built")))
  kitti, stereo, _ = scene
  parts = [f"data.parts.{part}=2011_09_26_drive_0035" for part in ("train", "validation", "test")]
  return _load(
    "crossdomain,scene",
    f"data.data_dir={kitti}",
    f"target.data_dir={stereo}",
    "data.domain=listed",
    "target.allow_missing=true",
    "data.batch_size=1",
    f"data.steps={STEPS}",
    "model.backbone=nano",
    "input.height=64",
    "input.width=64",
    *parts,
  )


def test_source_and_target_of_other_sizes_train_together(config):
  opened = {name: pipeline.open(config[name], name) for name in ("data", "target")}
  assert opened["data"].sizes == {"train": 1, "validation": 1, "test": 1}
  assert opened["target"].sizes == {"train": 1, "validation": 1, "test": 2}
  resolved = grammar.resolve_durations(config, opened["data"].sizes["train"])
  recipe = recipes.create(resolved)
  batch = next(training._batches(config, opened, recipe).train())
  shapes = {f"{name}/{field}": x.shape for name, one in batch.items() for field, x in one.items()}
  assert shapes == {  # and no depth of the target
    "source/spike": (1, 352, 1216, STEPS // 8),
    "source/depth": (1, 352, 1216),
    "target/spike": (1, 384, 864, STEPS // 8),
  }

  def begin():
    student = common.initialise(resolved, common.network(resolved), jax.random.key(0))
    return recipe.init(jax.random.key(1), {"student": student})

  state = jax.eval_shape(begin)
  split = jax.tree.map(lambda x: np.broadcast_to(x, (jax.device_count(), *x.shape)), batch)
  after, metrics = jax.eval_shape(
    devices.parallel_step(recipe.train_step), state, split, jax.random.key(2)
  )
  assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
  assert {"scp_loss", "sca_loss", "depth_loss"} <= set(metrics)


def test_the_target_is_judged_in_its_own_frame(config, scene):
  """The truth is whole, the prediction lies in the view, pixels count in the crop of the frame."""
  tested = evaluate.test_config(config)
  assert _where(tested.data) == ("drivingstereo", "selected", 384, 864)
  spec = train_state.example(config.target, "spike")
  batches = pipeline.open(tested.data).batches(spec, seed=0)
  task = tasks.create("depth")

  def predict(batch, carry):
    return {"depth": np.full((len(batch["mask"]), 64, 64), 10, np.float32)}, carry

  report = evaluation.evaluate(
    task, predict, batches.evaluation("test", truth=("depth",)), tested.protocol
  )
  _, _, truth = scene
  for row in report.rows:
    metres = truth[row["key"]][2]
    inside = np.zeros(metres.shape, bool)  # 400x881: the fractions of Garg et al.
    inside[163:396, 31:849] = True
    known = inside & (metres > 1e-3) & (metres < 80)
    frame = np.full(metres.shape, 1e-3)  # beside the view nothing is predicted: the floor
    frame[16:, 8:872] = 10
    want = (np.abs(frame - metres)[known] / metres[known]).mean()
    assert row["pixels"] == known.sum()
    assert row["abs_rel"] == pytest.approx(want, rel=1e-5)
  (batch, truths), *_ = batches.evaluation("test", truth=("depth",))
  assert truths[0]["crop"].tolist() == [16, 8, 384, 864]
  assert batch["spike"].shape == (1, 384, 864, STEPS // 8)


def test_another_network_is_tested_on_the_target_of_a_crossdomain_config(config):
  trained = _load("crossmodality,scene")
  found = evaluate.test_config(trained, config, overrides=("data.limit=5",))
  assert _where(found.data) == ("drivingstereo", "selected", 384, 864)
  assert found.data.data_dir == config.target.data_dir and found.data.limit == 5


def test_a_target_that_is_not_there_is_said_before_anything_is_trained(config, tmp_path):
  config.target.data_dir = None
  with pytest.raises(errors.UserError, match="config.target.data_dir"):
    training.run(config, root=tmp_path)
  config.target.data_dir = config.data.data_dir  # a tree of KITTI
  with pytest.raises(errors.UserError, match="no images to train in .*2018-07-31.*published"):
    training.run(config, root=tmp_path)
  assert not any(tmp_path.iterdir())


def test_a_parents_checkpoint_that_is_not_there_is_said_before_data_is_opened(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(pipeline, "open", lambda *_: pytest.fail("data was opened"))
  config = _load("crossdomain,smoke", f"parents.student.checkpoint={tmp_path / 'nothing'}")
  with pytest.raises(errors.UserError, match="nothing: does not exist"):
    training.run(config, root=tmp_path)


def test_naming_a_run_opens_no_data_and_does_not_depend_on_where_it_lies(monkeypatch, tmp_path):
  monkeypatch.setattr(pipeline, "open", lambda *_: pytest.fail("data was opened"))
  names = set()
  for place in ("/a", "/b"):
    config = _load("crossdomain,scene", f"data.data_dir={place}", f"target.data_dir={place}/c")
    names.add(training.run_folder(config, tmp_path, spare_default=True))
  assert len(names) == 1
  other = _load("crossdomain,scene", "data.data_dir=/a", "target.data_dir=/a/c", "adapt.sca=0")
  assert training.run_folder(other, tmp_path, spare_default=True) not in names


def test_another_cap_of_evaluation_is_no_other_training(tmp_path):
  """What training counts as valid stands in `loss`: the teacher of both is the same run."""
  cap = "evals.source.protocol.max_depth=50"
  configs = [_load("crossmodality,smoke", *items) for items in ((), (cap,))]
  assert [c.loss.max_depth for c in configs] == [80, 80]
  folders = {training.run_folder(grammar.parent(c, "teacher"), tmp_path) for c in configs}
  assert len(folders) == 1
