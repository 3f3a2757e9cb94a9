"""scripts/uncertainty.py on a cross-domain run: what it writes is what the networks say."""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image
import pytest

import bicross_jax
from bicross_jax import recipes
from bicross_jax.config import grammar
from bicross_jax.data import pipeline
from bicross_jax.recipes.bicross import common
from bicross_jax.train import checkpoints, runs
from bicross_jax.train import state as train_state
from tests.scripts.conftest import script


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


def _crossdomain(folder, *overrides):
  """A run of stage crossdomain that was not trained: its teacher differs from its student."""
  config = grammar.load("configs/bicross.py:crossdomain,smoke", overrides)
  recipe = recipes.create(grammar.resolve_durations(config, 8))
  (module,) = recipe.networks.values()
  start = common.initialise(config, module, jax.random.key(1))
  state = recipe.init(jax.random.key(0), {"student": start})
  if state.teacher:
    rng = np.random.default_rng(0)
    state = state.replace(
      teacher=jax.tree.map(
        lambda x: x + 0.02 * rng.normal(size=x.shape).astype(np.float32), state.teacher
      )
    )
  state = jax.device_get(state)
  meta = {
    "step": 0,
    "which": recipe.publishes,
    "metrics": {},
    "config": runs.plain(config),
    "examples": 8,
    "metric": {"name": "abs_rel", "mode": "last", "value": 1.0},
  }
  with checkpoints.Checkpoints(folder) as store:
    store.save(0, state, jax.device_get(recipe.variables(state)), meta, 0)
  return folder


@pytest.fixture(scope="module")
def crossdomain(shared, tmp_path_factory):
  folder = tmp_path_factory.mktemp("crossdomain")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(shared)
    return _crossdomain(folder / "run", "adapt.augment=false", "adapt.publish=teacher")


def _main(*argv):
  return script("uncertainty").main([str(a) for a in argv])


def _ause(error, uncertainty):
  """The definition, with 20 steps: left out are the most uncertain, or the worst."""
  n = len(error)
  left = [max(1, round((1 - f) * n)) for f in np.linspace(0, 0.95, 20)]
  by_uncertainty = [error[np.argsort(uncertainty, kind="stable")[:k]].mean() for k in left]
  by_error = [np.sort(error)[:k].mean() for k in left]
  return np.trapezoid((np.array(by_uncertainty) - by_error) / error.mean(), dx=0.05)


@pytest.mark.slow
def test_the_numbers_are_those_of_both_networks(crossdomain, tmp_path, capsys):
  assert _main("--checkpoint", crossdomain, "--output", tmp_path / "out") == 0
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
    "uncertainty.json",
    "uncertainty.md",
    "uncertainty.png",
  ]
  with Image.open(tmp_path / "out" / "uncertainty.png") as picture:
    assert picture.width > 900
  text = (tmp_path / "out" / "uncertainty.md").read_text()
  assert text in capsys.readouterr().out
  found = json.loads((tmp_path / "out" / "uncertainty.json").read_text())["domains"]
  assert list(found) == ["source", "target"]
  assert found["target"]["data"] == "world/foggy/test"

  model = bicross_jax.load(crossdomain)
  reader = ocp.StandardCheckpointer()
  state = reader.restore(crossdomain.absolute() / "checkpoints" / "0" / "state")
  student = state["params"]["student"]
  (module,) = model.networks.values()
  config, apply = model.config, jax.jit(module.apply)
  for name, data in (("source", config.data), ("target", config.target)):
    batches = (
      pipeline.open(data)
      .batches(train_state.example(config.data, "spike"), seed=0)
      .evaluation("test", truth=("depth",))
    )
    ((batch, truths),) = batches
    rows = len(truths)
    x = 2 * np.unpackbits(batch["spike"][:rows], axis=-1, bitorder="little").astype(np.float32) - 1
    teacher, of_student = apply(model.variables, x), apply({"params": student}, x)
    truth = np.stack([t["depth"] for t in truths])
    valid = (truth > 1e-3) & (truth < 80)
    depth = np.clip(teacher.depth, 1e-3, 80)
    error = np.minimum(np.abs(depth - truth) / np.where(valid, truth, 1), 1)[valid]
    measures = {
      "head": np.asarray(teacher.uncertainty)[valid],
      "disagreement": np.abs(np.log(teacher.depth / of_student.depth))[valid],
    }
    assert found[name]["pixels"] == valid.sum() and found[name]["images"] == 3
    assert found[name]["error"] == pytest.approx(error.mean(), rel=1e-4)
    assert list(found[name]["measures"]) == ["head", "disagreement", "variance"]
    for measure, uncertainty in measures.items():
      j = found[name]["measures"][measure]
      assert j["sparsification"]["ause"] == pytest.approx(
        _ause(error, uncertainty), rel=1e-2, abs=1e-3
      )
      surest = np.argsort(uncertainty)[: (len(uncertainty) + 1) // 2]
      assert j["surer_half"] == pytest.approx(error[surest].mean(), rel=1e-3)
      assert f"{j['sparsification']['ause']:.3f}" in text
    assert found[name]["measures"]["variance"]["sparsification"]["ause"] > 0


@pytest.mark.slow
def test_without_a_teacher_there_is_no_disagreement(tmp_path):
  run = _crossdomain(tmp_path / "run", "adapt.method=adversarial")
  assert (
    _main(
      "--checkpoint", run, "--output", tmp_path / "out", "--part", "validation", "--pixels", 300
    )
    == 0
  )
  found = json.loads((tmp_path / "out" / "uncertainty.json").read_text())["domains"]
  assert list(found["source"]["measures"]) == ["head", "variance"]
  assert list(found["source"]["differences"]) == ["variance minus head"]
  assert found["source"]["pixels"] == found["target"]["pixels"] == 900
