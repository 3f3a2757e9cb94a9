"""What every stage of every system must pass through, by the scripts a person would use.

A system's tests are a class that lists its stages (`tests.scripts.conftest.STAGES`).
"""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image
import pytest

from bicross_jax import inference, tasks
from bicross_jax.commands import benchmark, evaluate
from bicross_jax.config import grammar
from bicross_jax.train import devices, runs
from tests.scripts.conftest import CONFIGS, STAGES, script


def main(name, *argv):
  """Runs scripts/<name>.py in this process; it must end well."""
  assert script(name).main([str(word) for word in argv]) == 0


def checkpoint(name, folder):
  """The arguments that name a trained stage."""
  return "--checkpoint", folder, *STAGES[name].plugin_flags


def read_json(path):
  return json.loads(path.read_text())


def finite(numbers):
  """Whether a dict has numbers in it, and all are finite."""
  values = [x for x in numbers.values() if isinstance(x, int | float)]
  return bool(values) and bool(np.isfinite(values).all())


def examples(model, part="test"):
  """[(batch, truths), ...] of a part of what a network is tested on."""
  where = evaluate.test_config(model.config)
  return list(evaluate.batches(model, where, part, tasks.create(model.config.task).truth))


def judged(task, predictions, truths):
  """The headline of a task, by NumPy alone, for predictions [B, ...] of the size of the view."""
  if task == "depth":
    errors = []
    for depth, truth in zip(predictions["depth"], truths, strict=False):
      top, left, height, width = truth["crop"]
      frame = np.zeros_like(truth["depth"])
      frame[top : top + height, left : left + width] = depth
      known = (truth["depth"] > 1e-3) & (truth["depth"] < 80)
      frame, true = np.clip(frame, 1e-3, 80)[known], truth["depth"][known]
      errors.append(np.mean(np.abs(frame - true) / true, dtype=np.float64))
    return errors
  said, true = [], []
  for logits, truth in zip(predictions["logits"], truths, strict=False):
    top, left, height, width = truth["crop"]
    true.append(truth["label"][top : top + height, left : left + width].ravel())
    said.append(logits.argmax(-1).ravel())
  return said, true


class Contract:
  """The tests; `stages` are those that they run for, `slow` the tests that `-m slow` runs."""

  stages = ()
  slow = ()

  def test_train(self, stage, trained, model, capsys):
    folder = trained(stage)
    config = grammar.load(STAGES[stage].config)
    steps, metric = int(config.train.steps), model(stage).recipe.metric[0]
    result = read_json(folder / "result.json")
    assert result["steps"] == steps and finite(result["before"]) and finite(result["after"])
    assert metric in result["after"] and result["after"] != result["before"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [line for line in lines if "train/loss" in line]
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    assert all(finite(row) and row["train/grad_norm"] > 0 for row in rows)
    assert any(name.startswith("train/lr") for name in rows[0])
    shown = [line for line in lines if f"validation/{metric}" in line]
    assert (shown[0]["step"], shown[-1]["step"]) == (0, steps)
    assert shown[-1][f"validation/{metric}"] == result["after"][metric]
    assert list(folder.glob("events.out.tfevents*"))
    assert not runs.differences(read_json(folder / "config.json"), config)
    before = (folder / "metrics.jsonl").read_bytes()
    main("train", "--config", STAGES[stage].config)
    assert "finished run" in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_bytes() == before

  def test_load(self, stage, trained, model):
    """What Orbax alone restores is what the module of the recipe takes."""
    (step, *_) = sorted((trained(stage) / "checkpoints").iterdir())
    tree = ocp.StandardCheckpointer().restore(step / "variables")
    assert set(tree) == {"params", "batch_stats"}
    loaded, networks = model(stage), model(stage).networks
    assert loaded.config.stage == stage.split("-")[1]
    if len(networks) > 1:
      assert set(tree["params"]) == set(networks)
    batch = examples(loaded)[0][0]
    again = dict(jax.jit(loaded.recipe.predict)(tree, _inputs(loaded, batch), ())[0])
    out = loaded.predict(batch)
    assert set(out) == set(again)
    for name, x in out.items():
      assert np.isfinite(x).all() and np.ptp(x) > 0
      np.testing.assert_allclose(x, again[name], rtol=2e-3, atol=1e-4)

  def test_eval(self, stage, trained, model, tmp_path, capsys):
    """The headline is what NumPy makes of the predictions; the last validation is repeated."""
    loaded, folder = model(stage), trained(stage)
    task = tasks.create(loaded.config.task)
    headline = next(iter(task.columns))
    main("eval", *checkpoint(stage, folder), "--output", tmp_path / "test")
    shown = capsys.readouterr().out
    summary = read_json(tmp_path / "test" / "summary.json")
    images = read_json(tmp_path / "test" / "images.json")
    assert task.titles.get(headline, headline) in shown and len(summary["baselines"]) == 2
    assert all(name in shown for name in summary["baselines"]) and finite(summary)
    found = [judged(task.name, out, truths) for out, truths in _predicted(loaded)]
    if task.name == "depth":
      by_hand = np.concatenate(found)
      np.testing.assert_allclose([row["abs_rel"] for row in images], by_hand, rtol=2e-4)
      assert summary["abs_rel"] == pytest.approx(by_hand.mean(), rel=2e-4)
    else:
      assert _is_a_picture(tmp_path / "test" / "confusion.png")
      said, true = (np.concatenate(sum(parts, [])) for parts in zip(*found, strict=True))
      said, true = said[true != 255], true[true != 255]
      overlap = [
        ((said == k) & (true == k)).sum() / ((said == k) | (true == k)).sum()
        for k in np.union1d(said, true)
      ]
      assert summary["miou"] == pytest.approx(np.mean(overlap), abs=1e-6)
    # What training validated in the end, on the last checkpoint.
    words = ("--part", "validation", "--which", "last", "--output", tmp_path / "last")
    if loaded.config.validate[0] != loaded.config.test:
      words += ("--eval", loaded.config.validate[0])
    main("eval", *checkpoint(stage, folder), *words)
    again = read_json(tmp_path / "last" / "summary.json")
    again = again.get("scores", again)
    name = loaded.recipe.metric[0]
    after = read_json(folder / "result.json")["after"]
    assert again[name] == pytest.approx(after[name], rel=1e-4)

  def test_predict(self, stage, trained, model, tmp_path):
    """Of an example in a file, what the network says of it in a batch."""
    loaded = model(stage)
    batch, truths = examples(loaded)[0]
    one = {name: batch[name][0] for name in loaded.recipe.inputs}
    np.savez(tmp_path / "a.npz", **one)
    main(
      "predict",
      tmp_path / "a.npz",
      *checkpoint(stage, trained(stage)),
      "--output",
      tmp_path / "out",
    )
    want = {name: x[0] for name, x in loaded.predict({k: x[None] for k, x in one.items()}).items()}
    h, w = batch[next(iter(one))].shape[1:3]
    if loaded.config.task == "depth":
      depth = np.load(tmp_path / "out" / "a_depth.npy")
      assert depth.shape == (h, w) and depth.dtype == np.float32
      np.testing.assert_allclose(depth, want["depth"], rtol=1e-4)
    else:
      label = np.array(Image.open(tmp_path / "out" / "a_label.png"))
      assert label.dtype == np.uint8
      np.testing.assert_array_equal(label, want["logits"].argmax(-1))
    if "uncertainty" in want:
      found = np.load(tmp_path / "out" / "a_uncertainty.npy")
      np.testing.assert_allclose(found, want["uncertainty"], rtol=1e-4, atol=1e-6)
    assert _is_a_picture(tmp_path / "out" / "a.png")

  def test_visualize(self, stage, trained, tmp_path):
    main(
      "visualize",
      *checkpoint(stage, trained(stage)),
      "--output",
      tmp_path / "p.png",
      "--examples",
      2,
    )
    assert _is_a_picture(tmp_path / "p.png")

  def test_table(self, stage, trained, place, capsys):
    """A table of one row that trains nothing anew; its cell is the mean of the images."""
    folder = trained(stage)
    before = (folder / "metrics.jsonl").stat().st_mtime_ns
    spec = f"{CONFIGS}/every.py:{stage}"
    main("table", "--table", spec, "--seeds", "0", "--part", "validation")
    assert (folder / "metrics.jsonl").stat().st_mtime_ns == before
    (result,) = place.glob(f"runs/*/tables/{stage}/table.json")
    cells = read_json(result)["rows"]["whole"]
    images = read_json(folder / "validation" / "images.json")
    headline = next(iter(tasks.create(grammar.load(STAGES[stage].config).task).columns))
    mean = np.mean([row[headline] for row in images])
    assert cells[headline]["value"] == pytest.approx(mean)
    assert result.with_suffix(".md").read_text().strip() in capsys.readouterr().out

  def test_benchmark(self, stage, place, monkeypatch, capsys):
    """The step and the prediction of random batches, in the time of one round."""
    measured, measure = [], benchmark.measure
    monkeypatch.setattr(benchmark, "measure", lambda *a, **k: _keep(measured, measure(*a, **k)))
    devices.enable_compile_cache()  # compile times are not what is tested
    update = type(jax.config).update
    monkeypatch.setattr(
      type(jax.config), "update", lambda c, k, v: None if "enable_comp" in k else update(c, k, v)
    )
    config = STAGES[stage].config
    main("benchmark", "--config", config, "--rounds", 1, "--seconds", 0.01)
    (result,) = measured
    assert list(result) == [config] and all(np.isfinite(x) and x > 0 for x in result[config])
    assert f"{result[config].train:.1f}" in capsys.readouterr().out

  def test_convert(self, stage, trained, model, tmp_path):
    """Weights that go out and come in again are the same, and predict the same."""
    loaded, folder, flags = model(stage), trained(stage), STAGES[stage].plugin_flags
    weights, again = tmp_path / "weights.safetensors", tmp_path / "again"
    main("convert_weights", folder, *flags, "--output", weights)
    main("convert_weights", weights, "--config", STAGES[stage].config, "--output", again)
    back = inference.load(again, plugins=STAGES[stage].plugins)
    want, got = (dict(jax.tree_util.tree_leaves_with_path(m.variables)) for m in (loaded, back))
    assert want.keys() == got.keys()
    for path, x in want.items():
      np.testing.assert_array_equal(x, got[path], err_msg=jax.tree_util.keystr(path))

  def test_export(self, stage, trained, model, tmp_path):
    """ONNX Runtime predicts what the network does, of the same examples."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    loaded, (batch, _) = model(stage), examples(model(stage))[0]
    batch = {name: batch[name] for name in loaded.recipe.inputs}
    rows = len(next(iter(batch.values())))
    argv = (*STAGES[stage].plugin_flags, "--output", tmp_path / "m.onnx", "--batch", rows)
    main("export", trained(stage), *argv)
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for given in session.get_inputs():  # a network with memory begins anew, whatever it remembers
      if given.name == "reset":
        batch["reset"] = np.ones(rows, bool)
      elif given.name not in batch:
        batch[given.name] = np.ones(given.shape, np.float32)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, batch), strict=True))
    for name, x in loaded.predict(_inputs(loaded, batch)).items():
      np.testing.assert_allclose(found[name], x, rtol=1e-3, atol=1e-4 * np.abs(x).max())


def _keep(where, value):
  where.append(value)
  return value


def _inputs(model, batch):
  names = (*model.recipe.inputs, *(name for name in ("reset",) if name in batch))
  return {name: batch[name] for name in names}


def _predicted(model):
  """(predictions of the real rows, truths) of every batch of the test part, memory and all."""
  carry = ()
  for batch, truths in examples(model):
    out, carry = model.step(batch, carry)
    yield {name: np.asarray(x)[: len(truths)] for name, x in out.items()}, truths


def _is_a_picture(path):
  """Whether a PNG is neither black nor of one colour."""
  pixels = np.array(Image.open(path).convert("RGB"))
  return pixels.max() > 50 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
