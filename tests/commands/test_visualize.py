"""What networks predict of a set's examples, with a set and networks that are formulas."""

import types

import numpy as np
import pytest

from bicross_jax import errors, tasks
from bicross_jax.commands import visualize
from bicross_jax.data import pipeline
from tests.commands import toy
from tests.commands.toy import STEPS, H, W

MAPS = {
  "rgb": ((H, W, 3), "uint8"),
  "spike": ((H, W, STEPS // 8), "uint8"),
  "depth": ((H, W), "float32"),
  "label": ((H, W), "uint8"),
  "events": ((H, W, 5, 4), "uint8"),
  "event_image": ((H, W, 2), "uint8"),
}


class Data:
  """A set of `size` examples, of which every other one lacks its truth; see `pipeline.Data`."""

  def __init__(self, size=7, drives=False, fields=tuple(MAPS), batch=3):
    self.sizes, self.drives, self._fields, self._batch = {"test": size}, drives, fields, batch
    self.dataset = types.SimpleNamespace(fields=lambda config: dict.fromkeys(fields))
    self.asked = []

  def stored(self, names, own):
    return {name: MAPS[name] for name in names if name in self._fields}

  def batches(self, spec, *, seed, own_fields):
    self.spec = spec
    return self

  def evaluation(self, part, truth):
    self.asked.append((part, truth))
    for start in range(0, self.sizes[part], self._batch):
      yield self._rows(range(start, min(start + self._batch, self.sizes[part])), truth)

  def drive(self, count, fps, truth):
    self.asked.append((count, fps))
    for i in range(count):
      yield self._rows([i], truth)

  def _rows(self, numbers, truth):
    rows = [example(i) for i in numbers]
    batch = {name: np.stack([r[name] for r in rows]) for name in MAPS}
    pad = [(0, self._batch - len(rows))]
    batch = {k: np.pad(x, pad + [(0, 0)] * (x.ndim - 1)) for k, x in batch.items()}
    batch["mask"] = np.arange(self._batch) < len(rows)
    batch["reset"] = np.array([numbers[0] == 0] + [False] * (self._batch - 1))
    box = {"crop": np.array([0, 0, H, W]), "frame": np.array([H, W])}
    truths = [
      {"key": f"test/{i}", **box, **{n: r[n] for n in truth}} for i, r in zip(numbers, rows)
    ]
    return {k: x for k, x in batch.items() if k in self.spec or k == "mask"}, truths


def example(i):
  """The arrays of example i; every odd one has no truth."""
  rng = np.random.default_rng(i)
  out = {name: rng.integers(0, 6, shape).astype(kind) for name, (shape, kind) in MAPS.items()}
  out["depth"] += 1
  if i % 2:
    out["depth"][:], out["label"][:] = 0, 255
  return out


def config(task="depth", **data):
  """The sections of a config that a comparison reads."""
  protocol = tasks.create(task).protocol()._asdict()
  if "crop" in protocol:
    protocol["crop"] = "none"
  return {
    "data": {"name": "toy", "domain": "clear", "height": H, "width": W, "steps": STEPS, **data},
    "evals": {"source": {"data": "data", "protocol": protocol}},
    "test": "source",
  }


@pytest.fixture
def use(monkeypatch):
  """Makes `pipeline.open` give a set; returns it."""

  def use(data):
    monkeypatch.setattr(pipeline, "open", lambda config, section: data)
    return data

  return use


def test_examples_are_spread_evenly_and_captions_are_those_of_the_evaluation(use):
  use(Data())
  models = {"a": toy.pictures(**config()), "b": toy.spikes(**config())}
  comparison = visualize.Comparison(models)
  examples = comparison.examples("test", 3)
  assert [e["key"] for e in examples] == ["test/0", "test/3", "test/6"]
  for number, found in zip((0, 3, 6), examples, strict=True):
    want = example(number)
    for name in ("rgb", "spike", "depth"):
      np.testing.assert_array_equal(found[name], want[name])
    depth = 1 + np.bitwise_count(want["spike"]).sum(-1)
    np.testing.assert_array_equal(found["prediction"]["b"]["depth"], depth)
    assert "feature" not in found
    if number % 2 == 0:
      error = np.abs(np.clip(depth, 1e-3, 80) - want["depth"]) / want["depth"]
      inside = (want["depth"] > 1e-3) & (want["depth"] < 80)
      assert found["row"]["b"]["abs_rel"] == pytest.approx(error[inside].mean(), rel=1e-5)


def test_what_the_set_lacks_is_not_shown(use):
  data = use(Data(fields=("spike",)))
  (found, *_) = visualize.Comparison({"a": toy.spikes(**config())}).examples("test", 1)
  assert set(found) == {"spike", "key", "prediction"}
  assert set(data.spec) == {"spike"} and data.asked == [("test", ())]


def test_a_feature_map_is_of_a_network_that_stands_alone(use):
  use(Data())
  model = toy.spikes(**config())

  def inspect(batch, carry):
    predictions, carry = model.step(batch, carry)
    return predictions | {"feature": np.full((len(batch["spike"]), 3, 4, 2), 7.0)}, carry

  model.inspect = inspect
  (found, *_) = visualize.Comparison({"a": model}).examples("test", 1)
  assert found["feature"].shape == (3, 4, 2) and set(found["prediction"]["a"]) == {
    "depth",
    "uncertainty",
  }
  models = {"a": model, "b": toy.pictures(**config())}
  (found, *_) = visualize.Comparison(models).examples("test", 1)
  assert "feature" not in found


def test_a_network_with_memory_sees_what_comes_before(use):
  data = use(Data(size=5, batch=1))
  model = toy.counter(**config("classes"))
  found = visualize.Comparison({"a": model}).examples("test", 2)
  assert [int(e["prediction"]["a"]["label"].min()) for e in found] == [1, 5]
  assert "events" in data.spec and "label" in found[0]


def test_a_sequence_is_a_drive_where_the_set_makes_one(use):
  data = use(Data(drives=True, batch=1))
  comparison = visualize.Comparison({"a": toy.spikes(**config())})
  keys = [frame["key"] for frame in comparison.sequence("test", first=2, count=3, fps=5)]
  assert keys == ["test/2", "test/3", "test/4"] and data.asked == [(5, 5)]


def test_a_sequence_of_another_set_is_its_part_in_order(use):
  use(Data())
  comparison = visualize.Comparison({"a": toy.spikes(**config())})
  keys = [frame["key"] for frame in comparison.sequence("test", first=5, count=5)]
  assert keys == ["test/5", "test/6"]
  with pytest.raises(errors.UserError, match="no frame 7"):
    comparison.sequence("test", first=7)


def test_networks_that_do_not_fit_each_other(use):
  with pytest.raises(errors.UserError, match="b is of task depth, the last network of classes"):
    visualize.Comparison({"b": toy.spikes(**config()), "c": toy.counter(**config("classes"))})
  use(Data())
  wider = toy.model({"spike": (H, W, 99)}, None, **config())
  with pytest.raises(errors.UserError, match="a reads spike of shape"):
    visualize.Comparison({"a": wider, "b": toy.spikes(**config())}).examples("test", 1)
  with pytest.raises(errors.UserError, match="heigth"):
    visualize.Comparison({"a": toy.spikes(**config())}, ["data.heigth=3"])


def test_scales_of_a_sequence_are_nearly_those_of_all_its_pixels():
  rng = np.random.default_rng(0)
  frames = [
    {
      "key": "k",
      "depth": rng.uniform(2, 50, (90, 120)),
      "prediction": {
        "a": {"depth": rng.uniform(2, 50, (90, 120)), "uncertainty": rng.uniform(0, 0.4, (90, 120))}
      },
      "row": {"a": {"abs_rel": 0.1 if i % 2 else float("nan")}},
      "spike": rng.integers(0, 255, (90, 120, 16), np.uint8),
      "feature": rng.normal(size=(45, 60, 8)),
    }
    for i in range(20)
  ]
  for frame in frames[::3]:
    del frame["depth"]
  task = tasks.create("depth")
  few, template = visualize.survey(task, iter(frames), task.protocol())
  every = task.scales(frames)
  assert few.depth.low == pytest.approx(every.depth.low, rel=0.1)
  assert few.depth.high == pytest.approx(every.depth.high, rel=0.05)
  assert few.shared.uncertainty == pytest.approx(every.shared.uncertainty, rel=0.05)
  assert few.shared.feature == pytest.approx(every.shared.feature, rel=0.2)
  assert few.shared.white == pytest.approx(every.shared.white, rel=0.15)
  assert set(template) == {key for frame in frames for key in task.cells(frame, every)}
  assert template[11, "a"].caption
