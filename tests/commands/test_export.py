"""The command that writes an ONNX file."""

import jax
import pytest

from bicross_jax import cli, models, recipes
from bicross_jax.commands import export
from bicross_jax.config import grammar
from bicross_jax.convert import store, torch_state
from bicross_jax.convert.dpt import published
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """A checkpoint of a network with random weights."""
  config = grammar.load(f"{ROOT}/configs/bicross.py:pretrain,smoke")
  recipe = recipes.create(grammar.resolve_durations(config, 8))
  variables = models.init(recipe.networks["dpt"], jax.random.key(0), (1, 32, 64, 3))
  converted = torch_state.Converted(jax.device_get(variables), published.PUBLISHED, [], [])
  folder = tmp_path_factory.mktemp("export") / "run"
  store.write(folder, converted, config, recipe, "random")
  return folder


def _run(*argv):
  return cli.run(export.main, [str(a) for a in argv])


def test_a_checkpoint_becomes_a_file_that_is_checked(checkpoint, tmp_path, capsys, monkeypatch):
  pytest.importorskip("onnxruntime")
  path = tmp_path / "new" / "model.onnx"
  assert _run(checkpoint, "--output", path) == 0
  shown = capsys.readouterr().out
  assert "inputs: rgb uint8[1, 32, 64, 3]" in shown and "depth float32[1, 32, 64]" in shown
  assert "depth: at most" in shown and "warning" not in shown and path.is_file()
  monkeypatch.setattr(export, "TOLERANCE", 0)
  assert _run(checkpoint, "--output", tmp_path / "other.onnx") == 1
  assert "warning: ONNX Runtime gives other numbers for depth" in capsys.readouterr().out


def test_refusals_are_one_line(checkpoint, tmp_path, capsys, monkeypatch):
  (tmp_path / "there.onnx").touch()
  for argv, words in (
    ([tmp_path / "absent", "--output", tmp_path / "x.onnx"], "no folder"),
    ([checkpoint, "--output", tmp_path / "x.pt"], "called .onnx"),
    ([checkpoint, "--output", tmp_path / "there.onnx"], "there already"),
    ([checkpoint, "--output", tmp_path / "x.onnx", "--batch", "0"], "--batch 0"),
    ([tmp_path, "--output", tmp_path / "x.onnx"], "holds no checkpoint"),
    ([checkpoint], "--output"),
  ):
    if words == "holds no checkpoint":
      pytest.importorskip("onnx")
    assert _run(*argv) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ") and words in shown and "\n" not in shown, shown
  monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
  assert _run(checkpoint, "--output", tmp_path / "x.onnx") == 2
  assert "bicross_jax[export]" in capsys.readouterr().err
