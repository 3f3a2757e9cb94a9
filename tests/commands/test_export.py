"""The command that writes an ONNX file."""

import json

import jax
import numpy as np
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


@pytest.fixture(scope="module")
def spiking(tmp_path_factory):
  """The same of StereoSpike."""
  config = grammar.load(f"{ROOT}/configs/stereospike.py:binocular,smoke")
  recipe = recipes.create(grammar.resolve_durations(config, 8))
  module = recipe.networks["stereospike"]
  shape = (1, 1, config.data.height, config.data.width, module.in_channels)
  variables = jax.device_get(models.init(module, jax.random.key(0), shape))
  folder = tmp_path_factory.mktemp("spiking") / "run"
  converted = torch_state.Converted(variables, published.PUBLISHED, [], [])
  store.write(folder, converted, config, recipe, "random")
  return folder, module, variables, (config.data.height, config.data.width)


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


def test_the_spiking_part_of_a_checkpoint_becomes_a_nir_file(spiking, checkpoint, tmp_path, capsys):
  pytest.importorskip("nir")
  from bicross_jax import nir
  from bicross_jax.nir import stereospike

  folder, module, variables, size = spiking
  assert _run(folder, "--output", tmp_path / "net.nir") == 0
  shown = capsys.readouterr().out
  assert "left out: deconv4: begins with a nearest resize" in shown
  graph, left_out = stereospike.to_nir(module, variables, size)
  expected, found = nir.create(graph).params, nir.load(tmp_path / "net.nir").params
  jax.tree.map(np.testing.assert_array_equal, expected, found)
  told = json.loads((tmp_path / "net.json").read_text())
  assert told["left_out"] == left_out and told["nodes"]["bottom"] == "Conv2d"
  assert _run(checkpoint, "--output", tmp_path / "other.nir") == 2
  shown = capsys.readouterr().err.strip()
  assert "has no spikes" in shown and "\n" not in shown


def test_refusals_are_one_line(checkpoint, tmp_path, capsys, monkeypatch):
  (tmp_path / "there.onnx").touch()
  for argv, words in (
    ([tmp_path / "absent", "--output", tmp_path / "x.onnx"], "no folder"),
    ([checkpoint, "--output", tmp_path / "x.pt"], "called .onnx or .nir"),
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
  assert _run(checkpoint, "--output", tmp_path / "x.nir") == 2
  assert "bicross_jax[nir]" in capsys.readouterr().err
