import dataclasses

import jax
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline, sets
from bicross_jax.data import world as data_world
from bicross_jax.data.builders import storage
from bicross_jax.data.builders import world as builder
from bicross_jax.sim import domains, world

SPEC = {"depth": np.float32, "label": np.uint8}


def _config(**overrides):
  small = dict(domain="clear", height=24, width=40, steps=16, train=24, validation=8, test=7)
  return builder.WorldConfig(**{**small, **overrides})


def test_there_is_a_config_for_every_domain():
  names = [config.domain for config in builder.World.BUILDER_CONFIGS]
  assert names == list(domains.DOMAINS)
  assert {"clear", "foggy", "rainy", "night", "other_town"} <= set(names)


def test_the_name_changes_with_all_that_makes_the_content(monkeypatch):
  names = {
    _config().name,
    _config(domain="foggy").name,
    _config(height=32).name,
    _config(width=32).name,
    _config(steps=24).name,
    _config(train=25).name,
    _config(validation=9).name,
    _config(test=8).name,
    _config(keyframes=5).name,
    _config(seed=1).name,
  }
  assert len(names) == 10
  assert _config().name == _config().name
  assert "clear-24x40-t16" in _config().name
  plain = _config().name
  clear = domains.DOMAINS["clear"]
  change = (
    clear._replace
    if hasattr(clear, "_replace")
    else (lambda **kw: dataclasses.replace(clear, **kw))
  )
  monkeypatch.setitem(domains.DOMAINS, "clear", change(sensor=clear.sensor._replace(gain=0.123)))
  assert _config().name != plain
  monkeypatch.undo()
  monkeypatch.setattr(world, "VERSION", world.VERSION + "x")
  assert _config().name != plain


def test_an_example_is_a_function_of_its_part_and_index(world_config, tmp_path):
  """A smaller world, built here, has the first examples of the shared one, field for field."""
  few = storage.prepare(builder.World, _config(train=3, validation=1, test=1), tmp_path)
  every = storage.prepare(builder.World, _config(), storage.pathlib.Path(world_config.data_dir))
  for part, count in few.sizes().items():
    ours, theirs = few.as_data_source(part), every.as_data_source(part)
    assert len(ours) == count
    for i in range(count):
      for name, x in ours[i].items():
        np.testing.assert_array_equal(x, theirs[i][name])
  assert len(set(few.info.metadata["sha256"].values())) == 3


def test_parts_share_no_scene(world_config):
  data = pipeline.open(world_config)
  depths = [t["depth"].tobytes() for part in data.sizes for t in data.truths(part, ["depth"])]
  assert len(set(depths)) == len(depths) == 39


def test_bright_pixels_fire_more(world_config, world_spec):
  batches = pipeline.open(world_config).batches(world_spec, seed=0)
  batch, _ = next(batches.evaluation("test"))
  rate = np.unpackbits(batch["spike"], axis=-1).mean(axis=-1)
  grey = batch["rgb"].mean(axis=-1)
  assert np.corrcoef(rate.ravel(), grey.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(domain="snowy"), "snowy.*clear"),
    (dict(steps=10), "multiple of 8"),
    (dict(train=0), "at least 1 example to train"),
    (dict(sensors=("rgb", "events2")), "no sensor 'events2'.*rgb_right"),
    (dict(sequence=81), "lasts 80 windows"),
    (dict(sequence=161, sensors=("depth", "events")), "lasts 160 windows"),
    (dict(cameras=1), "two event cameras.*input.cameras=1"),
  ],
)
def test_wrong_parameters_are_told_before_anything_is_built(world_config, overrides, words):
  world_config.update(data_dir="/proc/nowhere", **overrides)
  with pytest.raises(errors.UserError, match=words):
    pipeline.open(world_config)


def test_the_choice_of_sensors_and_sequences_is_another_set_and_none_is_the_old_one():
  names = [
    _config(sensors=("rgb", "depth")).name,
    _config(sensors=("depth",)).name,
    _config(windows=2).name,
    _config().name,
  ]
  assert len(set(names)) == 4
  assert names[3] == "clear-24x40-t16-k3-n24.8.7-s0-0299283ce8"  # as before there was a choice


def test_another_number_is_other_scenes_and_none_the_old_ones(world_config):
  """`data.scenes`; 0 says what a config without the field says."""
  few = {"train": 1, "validation": 1, "test": 2}
  plain, other = (type(world_config)({**world_config, "scenes": n}) for n in (0, 1))
  other.update(few)
  configs = (world_config, plain, other)
  names = [sets.get("world").build(config, "data", "test").info.full_name for config in configs]
  assert names[0] == names[1] != names[2] and "-s0-" in names[0] and "-s1-" in names[2]
  built = map(pipeline.open, configs)
  first, same, changed = ([t["depth"] for t in d.truths("test", ["depth"])] for d in built)
  np.testing.assert_array_equal(first, same)
  assert not any((a == b).all() for a in changed for b in first)


def test_another_baseline_is_the_same_scenes_seen_from_farther_apart(world_config):
  """`data.baseline`; 0 says what a config without the field says."""
  few = {"train": 1, "validation": 1, "test": 2}
  plain, same, wide = (
    type(world_config)({**world_config, **few, **options})
    for options in ({}, {"baseline": 0.0}, {"baseline": 1.5})
  )
  kind = sets.get("world")
  names = [kind.build(c, "data", "test").info.full_name for c in (plain, same, wide)]
  assert names[0] == names[1] != names[2]
  focal, near = kind.camera(plain)
  assert near == pytest.approx(0.54) and kind.camera(same) == (focal, near)
  assert kind.camera(wide) == (focal, 1.5)
  seen = ("rgb", "depth", "rgb_right", "baseline")
  for a, b in zip(*(pipeline.open(c).truths("test", seen) for c in (plain, wide)), strict=True):
    np.testing.assert_array_equal(a["depth"], b["depth"])
    np.testing.assert_array_equal(a["rgb"], b["rgb"])
    assert (a["rgb_right"] != b["rgb_right"]).mean() > 0.2
    assert (float(a["baseline"]), float(b["baseline"])) == (pytest.approx(0.54), 1.5)


def test_events_name_their_sensor_and_bins_and_other_sets_do_not(monkeypatch):
  kinds = (
    dict(sensors=("depth", "events")),
    dict(sensors=("depth", "events"), bins=2),
    dict(sensors=("depth", "depth_before")),
    dict(sensors=("depth", "event_image")),
    dict(sensors=("depth",)),
    dict(),
  )
  names = [_config(**kind).name for kind in kinds]
  assert len(set(names)) == len(kinds)
  sensor = world.EVENT_SENSOR._replace(leak=0.7)
  monkeypatch.setattr(world, "EVENT_SENSOR", sensor)
  changed = [_config(**kind).name != name for kind, name in zip(kinds, names)]
  assert changed == [True, True, True, True, False, False]


def test_event_images_of_a_sequence(world_config):
  """Windows of a scene follow each other every 50 ms, as those of counts do, with the same events."""
  world_config.update(train=1, validation=1, test=3, sequence=3)
  world_config.sensors = ("label", "event_image")
  data = pipeline.open(world_config)
  spec = {
    "event_image": jax.ShapeDtypeStruct((24, 40, 2), np.uint8),
    "label": jax.ShapeDtypeStruct((24, 40), np.uint8),
  }
  found = [
    batch["event_image"][0] for batch, _ in data.batches(spec, seed=0).evaluation("test", ())
  ]
  assert len(found) == 3 and all(image.max() == 255 for image in found)
  assert data_world.rate(("event_image",)) == data_world.rate(("events",)) == 20


def test_windows_of_events_follow_each_other_without_a_gap(world_config):
  """Depth at a window's begin is depth at the end of the one before, to rounding of curved ways."""
  world_config.update(
    train=1, validation=1, test=6, sequence=3, bins=2, sensors=("depth_before", "events", "depth")
  )
  data = pipeline.open(world_config)
  shapes = {"events": (24, 40, 2, 4), "depth": (24, 40), "depth_before": (24, 40)}
  kinds = {"events": np.uint8, "depth": np.float32, "depth_before": np.float32}
  spec = {name: jax.ShapeDtypeStruct(shapes[name], kinds[name]) for name in shapes}
  found = list(data.batches(spec, seed=0).evaluation("test"))
  rows = [{name: x[i] for name, x in b.items()} for b, truths in found for i in range(len(truths))]
  assert [bool(row["reset"]) for row in rows] == [True, False, False] * 2
  for i, (one, two) in enumerate(zip(rows, rows[1:])):
    known = (one["depth"] > 0) & (two["depth"] > 0) & (two["depth_before"] > 0)
    gap, moved = (np.abs(two[name] - one["depth"])[known] for name in ("depth_before", "depth"))
    gap, moved = np.quantile(gap, 0.9), np.quantile(moved, 0.9)
    assert gap > 5 if i == 2 else gap < 0.2 * moved  # after i = 2 another scene begins
  events = np.stack([row["events"] for row in rows])
  assert (events.reshape(6, -1, 4).mean(1) > 0.02).all() and events.max() < 100


def test_chosen_sensors_in_sequences(world_config):
  """Windows of one scene follow each other; scenes have nothing to do with each other."""
  world_config.update(
    train=6, validation=1, test=5, sequence=3, sensors=("label", "rgb", "depth"), batch_size=1
  )
  data = pipeline.open(world_config)
  spec = {name: jax.ShapeDtypeStruct((24, 40), t) for name, t in SPEC.items()}
  batches = data.batches(spec, seed=0)
  found = list(batches.evaluation("test", truth=("depth",)))
  assert [t["key"] for _, (t,) in found] == [
    f"clear/test/{i // 3:06d}/{i % 3:03d}" for i in range(5)
  ]
  assert [bool(b["reset"][0]) for b, _ in found] == [True, False, False, True, False]
  changed = [
    np.mean(a["label"] != b["label"]) for (a, _), (b, _) in zip(found, found[1:], strict=False)
  ]
  assert all(0 < changed[i] < changed[2] for i in (0, 1, 3))  # a scene's windows look alike
  with pytest.raises(errors.UserError, match="no field 'spike'.*label"):
    data.batches({"spike": jax.ShapeDtypeStruct((24, 40, 2), np.uint8)}, seed=0)


def test_a_drive_comes_as_evaluation_does(world_config, monkeypatch):
  def frames(key, domain, count, *, height, width, steps, fps, sensors, bins):
    del key, steps
    assert domain.name == "clear" and fps == 0.25 and "spike" in sensors
    for i in range(count):
      yield {
        "rgb": np.full((height, width, 3), i, np.uint8),
        "depth": np.full((height, width), i + 1, np.float32),
      }

  monkeypatch.setattr(data_world.drive, "frames", frames)
  world_config.data_dir = "/proc/nowhere"  # nothing is built
  data = pipeline.open(world_config)
  assert data.drives
  spec = {"rgb": jax.ShapeDtypeStruct((24, 40, 3), np.uint8)}
  found = list(data.batches(spec, seed=0).drive(5, fps=0.25))
  for i, (batch, (truth,)) in enumerate(found):
    assert sorted(batch) == ["mask", "reset", "rgb"]
    assert batch["rgb"].shape == (1, 24, 40, 3) and np.all(batch["rgb"] == i)
    assert batch["mask"].tolist() == [True]
    assert batch["reset"].tolist() == [i % 2 == 0]  # a scene lasts 8 s
    assert np.all(truth["depth"] == i + 1) and truth["crop"].tolist() == [0, 0, 24, 40]
    assert truth["key"] == f"clear, drive, {4 * i:.1f} s"
