"""scripts/uncertainty.py on a cross-domain run: what it writes is what the networks say."""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image
import pytest

import bicross_jax
from bicross_jax import cli, recipes
from bicross_jax.config import grammar
from bicross_jax.data import pipeline
from bicross_jax.recipes.bicross import common as depth_recipe
from bicross_jax.train import checkpoints, runs
from bicross_jax.train.state import Initial
from tests.scripts.conftest import SMALL, script


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


def _crossdomain(start, folder, *overrides):
  """A run of stage crossdomain that was not trained: its teacher differs from its student."""
  flags = [s.removeprefix("--config.") for s in SMALL if "parent" not in s]
  config = grammar.resolve_durations(
    grammar.load("configs/bicross.py:crossdomain", [*flags, *overrides]), 8
  )
  recipe = recipes.create(config)
  state = recipe.init(jax.random.key(0), Initial(init_from=bicross_jax.load(start).variables))
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
    "metric": {"name": "abs_rel", "mode": "last", "value": 1.0},
  }
  with checkpoints.Checkpoints(folder) as store:
    store.save(0, state, jax.device_get(recipe.variables(state)), meta, 0)
  return folder


@pytest.fixture(scope="module")
def crossdomain(crossmodality, place, tmp_path_factory):
  folder = tmp_path_factory.mktemp("crossdomain")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(place)
    return _crossdomain(
      crossmodality, folder / "run", "adapt.augment=false", "adapt.publish=teacher"
    )


def _main(*argv):
  return script("uncertainty").main([str(a) for a in argv])


def _ause(error, doubt):
  """The definition, with 20 steps: left out are the most uncertain, or the worst."""
  n = len(error)
  left = [max(1, round((1 - f) * n)) for f in np.linspace(0, 0.95, 20)]
  by_doubt = [error[np.argsort(doubt, kind="stable")[:k]].mean() for k in left]
  by_error = [np.sort(error)[:k].mean() for k in left]
  return np.trapezoid((np.array(by_doubt) - by_error) / error.mean(), dx=0.05)


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
  assert found["target"]["data"] == "spike_world/foggy/test"

  model = bicross_jax.load(crossdomain)
  reader = ocp.StandardCheckpointer()
  state = reader.restore(crossdomain.absolute() / "checkpoints" / "0" / "state")
  student = state["params"]["student"]
  config, apply = model.config, jax.jit(model.module.apply)
  for name, data in (("source", config.data), ("target", config.target)):
    batches = (
      pipeline.open(data)
      .batches(depth_recipe.field_spec(config, ("spike", "depth")), seed=0)
      .evaluation("test")
    )
    ((batch, truths),) = batches
    rows = len(truths)
    x = 2 * np.unpackbits(batch["spike"][:rows], axis=-1, bitorder="little").astype(np.float32) - 1
    teacher, learnt = apply(model.variables, x), apply({"params": student}, x)
    truth = np.stack([t["depth"] for t in truths])
    valid = (truth > 1e-3) & (truth < 80)
    depth = np.clip(teacher.depth, 1e-3, 80)
    error = np.minimum(np.abs(depth - truth) / np.where(valid, truth, 1), 1)[valid]
    doubts = {
      "head": np.asarray(teacher.uncertainty)[valid],
      "disagreement": np.abs(np.log(teacher.depth / learnt.depth))[valid],
    }
    assert found[name]["pixels"] == valid.sum() and found[name]["images"] == 3
    assert found[name]["error"] == pytest.approx(error.mean(), rel=1e-4)
    assert list(found[name]["measures"]) == ["head", "disagreement", "variance"]
    for measure, doubt in doubts.items():
      j = found[name]["measures"][measure]
      assert j["sparsification"]["ause"] == pytest.approx(_ause(error, doubt), rel=1e-2, abs=1e-3)
      surest = np.argsort(doubt)[: (len(doubt) + 1) // 2]
      assert j["surer_half"] == pytest.approx(error[surest].mean(), rel=1e-3)
      assert f"{j['sparsification']['ause']:.3f}" in text
    assert found[name]["measures"]["variance"]["sparsification"]["ause"] > 0


@pytest.mark.slow
def test_without_a_teacher_there_is_no_disagreement(crossmodality, tmp_path):
  run = _crossdomain(crossmodality, tmp_path / "run", "adapt.method=adversarial")
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


def test_bad_input_is_one_line_and_status_2(crossmodality, tmp_path, capsys):
  (tmp_path / "file").write_text("mine")
  for argv, words in (
    (["--checkpoint", "nowhere"], "nowhere"),
    (["--checkpoint", crossmodality], "stage crossmodality"),
    (["--checkpoint", crossmodality, "--pixels", "0"], "--pixels 0"),
    (["--checkpoint", crossmodality, "--output", tmp_path / "file"], "is a file"),
    (["--checkpoint", crossmodality, "--part", "tset"], "test"),
    (["--checkpoint", crossmodality, "--nonsense"], "--nonsense"),
  ):
    assert cli.run(script("uncertainty").main, [str(a) for a in argv]) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown and shown.startswith("error:") and "\n" not in shown
  assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
  assert not (crossmodality / "eval-uncertainty-test").exists()


@pytest.mark.slow
def test_a_trained_run_is_judged(crossmodality, tmp_path):
  flags = [s for s in SMALL if "parent" not in s]
  assert (
    script("train").main(
      [
        "--config",
        "configs/bicross.py:crossdomain",
        *flags,
        f"--config.init_from={crossmodality}",
        "--workdir",
        str(tmp_path / "run"),
      ]
    )
    == 0
  )
  assert _main("--checkpoint", tmp_path / "run") == 0
  found = json.loads((tmp_path / "run" / "eval-uncertainty-test" / "uncertainty.json").read_text())
  for domain in found["domains"].values():
    assert domain["images"] == 3 and all(
      np.isfinite(domain["measures"][m]["surer_half"]) for m in ("head", "disagreement", "variance")
    )
