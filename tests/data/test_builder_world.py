import dataclasses

import numpy as np

from bicross_jax.data import pipeline
from bicross_jax.data.builders import storage
from bicross_jax.data.builders import world as builder
from bicross_jax.sim import domains, world


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


def test_two_builds_are_equal_byte_for_byte(world_config, tmp_path):
  folders = [pipeline.open(world_config).folder]
  again = storage.prepare(builder.World, _config(), tmp_path)
  folders.append(storage.pathlib.Path(again.data_dir))
  names = [sorted(p.name for p in folder.glob("*.array_record*")) for folder in folders]
  assert names[0] == names[1] and len(names[0]) == 3
  for name in names[0]:
    assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
  assert len(set(again.info.metadata["sha256"].values())) == 3


def test_an_example_is_a_function_of_its_index(world_config, world_spec, tmp_path):
  few = storage.prepare(builder.World, _config(train=3, validation=1, test=1), tmp_path)
  batches = pipeline.open(world_config).batches(world_spec, seed=0)
  batch, truths = next(batches.evaluation("train"))
  for i, example in enumerate(few.as_data_source("train")):
    np.testing.assert_array_equal(example["depth"], truths[i]["depth"])
    np.testing.assert_array_equal(example["spike"], batch["spike"][i])


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
