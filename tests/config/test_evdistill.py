"""EvDistill's configs: every stage in every scenario, and the published settings."""

import pytest

from bicross_jax import errors, tasks
from bicross_jax.config import grammar
from bicross_jax.data import classes, sets
from bicross_jax.recipes.evdistill import common

STAGES = ("teacher", "student", "supervised")
REAL = {  # set, domain, classes, protocol (docs/systems/evdistill.md)
  "ddd17": ("ddd17_seg", "published", 6, "ddd17_evdistill"),
  "mvsec": ("mvsec_seg", "published", 6, "ddd17_evdistill"),
  "dsec": ("dsec_semantic", "11classes", 11, "dsec"),
}
STREAMS = {  # stage: {section: its fields}
  "teacher": {"data": {"rgb", "label"}},
  "student": {"data": {"rgb", "label"}, "target": {"event_image", "label"}},
  "supervised": {"data": {"event_image", "label"}},
}


def _load(words, *overrides):
  return grammar.load(f"configs/evdistill.py:{words}", overrides)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scenario", ("synthetic", "smoke", *REAL))
def test_every_stage_has_data_that_its_set_can_give_and_a_test_of_its_classes(scenario, stage):
  config = _load(f"{stage},{scenario}")
  for section, wanted in STREAMS[stage].items():
    data = config[section]
    assert set(sets.get(data.name).fields(data)) == wanted
    assert data.domain in sets.get(data.name).domains
  for name in (config.test, *config.validate):
    entry = config.evals[name]
    assert entry.data == ("target" if stage == "student" else "data")
    assert entry.protocol.classes == config.model.classes
    assert len(classes.KNOWN[entry.protocol.names].names) == config.model.classes
  assert config.input.grey and not config.input.normalise
  for role in config.parents:
    parent = grammar.parent(config, role)
    if role != "teacher":
      assert parent is None  # unless a checkpoint is given
      continue
    assert parent.stage == "teacher" and common.FIELDS[parent.input.modality] == "rgb"
    for name in ("name", "domain", "height", "width"):
      assert parent.data[name] == config.data[name]
    assert parent.model.to_dict() == config.model.to_dict()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scenario", REAL)
def test_a_real_scenario_has_the_published_settings(scenario, stage):
  name, domain, count, protocol = REAL[scenario]
  config = _load(f"{stage},{scenario}")
  assert (config.data.name, config.data.domain, config.model.classes) == (name, domain, count)
  assert (config.data.height, config.data.width, config.data.crop) == (256, 512, "bicubic")
  assert config.data.batch_size == 32 and config.train.steps == "40000"
  model = config.model
  assert (model.backbone, model.layers, model.divisor, model.output_stride) == (
    "resnet",
    101,
    1,
    16,
  )
  optim = config.optim
  assert (optim.name, optim.lr, optim.weight_decay, optim.schedule, optim.warmup) == (
    "sgd",
    1e-3,
    0.005,
    "poly",
    1000,
  )
  assert config.loss.labels == 10 and config.loss.ohem == 0.7
  assert config.augment.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
  known = tasks.create("classes").protocols[protocol]
  assert config.evals[config.test].protocol.to_dict() == known._asdict()
  if stage == "student":
    distill = config.distill
    assert distill.pixelwise_source == distill.pixelwise_target == 20
    assert (distill.affinity, distill.image, config.bmr.cycle) == (0.1, 10, 10)


def test_another_folder_is_that_of_both_streams():
  config = _load("student,ddd17", "data.data_dir=/data/ddd17")
  assert config.target.data_dir == "/data/ddd17"
  assert grammar.parent(config, "teacher").data.data_dir == "/data/ddd17"


def test_frames_and_events_of_the_world_are_of_different_scenes():
  student, supervised = _load("student"), _load("supervised")
  assert student.data.scenes == 0 and student.target.scenes == supervised.data.scenes == 1


@pytest.mark.parametrize("word", ["student,synthetik", "pupil", "student,distill.pixelwise=1"])
def test_the_nearest_right_word_is_told(word):
  with pytest.raises(errors.UserError, match="synthetic|student|pixelwise_"):
    _load(word)
