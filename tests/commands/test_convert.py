"""The command of conversion: published weights in, predicted with, trained from, and out again."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import bicross_jax
from bicross_jax import cli, errors, models
from bicross_jax.commands import convert, train, training
from bicross_jax.convert import network, to_torch
from bicross_jax.models import dpt, transfer
from tests.conftest import ROOT
from tests.convert.conftest import nano, published  # noqa: F401 (fixtures)

RGB = "configs/bicross.py:pretrain,smoke"
SPIKE = f"{RGB},input.modality=spike"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with the configs, to run in; data are rendered beside it once."""
  folder = tmp_path_factory.mktemp("convert")
  (folder / "configs").symlink_to(ROOT / "configs")
  return folder


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)
  monkeypatch.setenv("BICROSS_DATA", str(place / "data"))


@pytest.fixture
def weights(tmp_path, published):
  """Files: a whole network, one without the uncertainty head, and its backbone as timm names it."""
  alone = {k: v for k, v in published.items() if not k.startswith("uncertaity_head")}
  prefix = "pretrained.model."
  timm = {k.removeprefix(prefix): v for k, v in published.items() if k.startswith(prefix)}
  for name, state in (("whole", published), ("alone", alone), ("timm", timm)):
    np.savez(tmp_path / f"{name}.npz", **state)
  return tmp_path


def _convert(*argv):
  return cli.run(convert.main, [str(a) for a in argv])


def _equal(have, want):
  assert jax.tree.structure(have) == jax.tree.structure(want)
  jax.tree.map(np.testing.assert_array_equal, have, want)


def test_a_whole_network_is_loaded_predicts_and_restores_with_orbax_alone(weights, nano, capsys):
  assert _convert(weights / "whole.npz", "--config", RGB, "--output", weights / "o") == 0
  shown = capsys.readouterr().out
  assert "DPT, MiDaS or BiCross" in shown and "refinenet4.resConfUnit1" in shown
  model = bicross_jax.load(weights / "o")
  _equal(model.variables, nano)
  _equal(ocp.StandardCheckpointer().restore(weights / "o" / "variables"), nano)
  assert model.meta["source"]["file"] == "whole.npz" and model.meta["which"] == "converted"
  x = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
  want = jax.jit(model.networks["dpt"].apply)(nano, x.astype(np.float32) / 127.5 - 1).depth
  np.testing.assert_allclose(model.predict({"rgb": x})["depth"], want, rtol=1e-3)


def test_out_and_in_again_is_exact(weights, nano):
  pytest.importorskip("safetensors")
  assert _convert(weights / "whole.npz", "--config", RGB, "--output", weights / "ours") == 0
  assert _convert(weights / "ours", "--output", weights / "out.safetensors") == 0
  assert _convert(weights / "out.safetensors", "--config", RGB, "--output", weights / "again") == 0
  _equal(bicross_jax.load(weights / "again").variables, nano)


@pytest.fixture
def first_states(monkeypatch):
  """Runs train nothing; the list of the states that they would have begun with."""
  states = []

  def run(config, recipe, batches, validate, workdir, parents, **_):
    states.append(recipe.init(jax.random.key(0), parents))
    return {}

  monkeypatch.setattr(training.loop, "run", run)
  return states


def test_a_stage_starts_from_a_backbone_alone(weights, nano, capsys, first_states):
  assert (
    _convert(weights / "timm.npz", "--config", SPIKE, "--inflate", "--output", weights / "r") == 0
  )
  shown = capsys.readouterr().out
  assert "backbone alone" in shown and "RGB stem inflated to 16 channels" in shown
  assert (
    train.main(["--config", SPIKE, f"--config.parents.weights.checkpoint={weights / 'r'}"]) == 0
  )
  assert "new and random, parents.weights has none: depth_head, fusion1," in capsys.readouterr().out
  params = jax.device_get(first_states[0].params)
  want = transfer.inflate_stem(nano, 128, 16)["params"]["backbone"]
  _equal(params["backbone"], jax.tree.map(np.asarray, want))
  assert not np.array_equal(params["skip1"]["kernel"], nano["params"]["skip1"]["kernel"])


def test_a_stage_gives_weights_without_an_uncertainty_head_a_new_one(
  weights, nano, capsys, first_states
):
  less = f"{RGB},model.uncertainty=false"
  assert _convert(weights / "alone.npz", "--config", RGB, "--output", weights / "n") == 2
  assert "no uncertainty head" in capsys.readouterr().err and not (weights / "n").exists()
  assert _convert(weights / "alone.npz", "--config", less, "--output", weights / "n") == 0
  capsys.readouterr()
  assert train.main(["--config", RGB, f"--config.parents.weights.checkpoint={weights / 'n'}"]) == 0
  assert "parents.weights has none: uncertainty_head\n" in capsys.readouterr().out
  params = dict(jax.device_get(first_states[0].params))
  new = params.pop("uncertainty_head")
  assert set(new) == set(nano["params"]["uncertainty_head"])
  _equal(params, {k: v for k, v in nano["params"].items() if k != "uncertainty_head"})


@pytest.mark.slow
def test_training_goes_on_from_converted_weights(weights, nano):
  """With learning rates of 0 the checkpoint in the end holds what was converted."""
  assert _convert(weights / "whole.npz", "--config", RGB, "--output", weights / "ours") == 0
  argv = ["--config", RGB, "--config.optim.backbone_lr=0", "--config.optim.head_lr=0"]
  argv += [
    f"--config.parents.weights.checkpoint={weights / 'ours'}",
    "--workdir",
    str(weights / "run"),
  ]
  assert train.main(argv) == 0
  _equal(bicross_jax.load(weights / "run").variables["params"], nano["params"])


def test_refusals_are_one_line_and_leave_nothing(weights, published, capsys):
  def refused(*argv, words, run=_convert):
    capsys.readouterr()
    before = sorted(weights.rglob("*"))
    assert run(*argv) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ") and "\n" not in shown, shown
    assert all(word in shown for word in words), shown
    if run is _convert:
      assert sorted(weights.rglob("*")) == before

  whole, out = weights / "whole.npz", weights / "out"
  key = "scratch.layer2_rn.weight"
  np.savez(
    weights / "less.npz", **{k: v for k, v in published.items() if k != key}, extra=np.ones(2)
  )
  refused(
    weights / "less.npz",
    "--config",
    RGB,
    "--output",
    out,
    words=["1 unknown: extra", "1 missing: params/skip2/kernel"],
  )
  refused(
    whole,
    "--config",
    f"{RGB},model.backbone=small",
    "--output",
    out,
    words=["misshapen", "missing"],
  )
  refused(whole, "--config", SPIKE, "--output", out, words=["misshapen", "`inflate`"])
  refused(whole, "--output", out, words=["--config"])
  refused(whole, "--config", RGB, "--output", weights, words=["there already"])
  refused(weights / "absent.pt", "--config", RGB, "--output", out, words=["absent.pt"])
  refused(weights, "--output", weights / "x.pt", words=[".safetensors"])
  refused(weights, "--output", out, "--config", RGB, words=["as it is"])
  refused(weights, "--output", weights / "x.safetensors", words=["holds no checkpoints"])
  (weights / "noise.npz").write_bytes(b"no weights")
  refused(
    weights / "noise.npz", "--config", RGB, "--output", out, words=["noise.npz", "whole .npz"]
  )

  assert _convert(weights / "timm.npz", "--config", RGB, "--output", weights / "b") == 0
  refused(weights / "b", "--output", weights / "x.safetensors", words=["holds backbone alone"])
  folders = (str(weights / f"run{i}") for i in range(9))
  trained = lambda *argv: cli.run(train.main, [*argv, "--workdir", next(folders)])
  start = f"--config.parents.weights.checkpoint={weights / 'b'}"
  refused(
    "--config",
    SPIKE,
    start,
    run=trained,
    words=["do not fit the network", "stem/conv/kernel is (7, 7, 3, 8), not (7, 7, 16, 8)"],
  )
  teacher = "--config.parents.teacher.checkpoint="
  crossmodality = ["--config", "configs/bicross.py:crossmodality,smoke"]
  refused(
    *crossmodality, f"{teacher}{weights / 'b'}", run=trained, words=["has no depth_head, fusion1"]
  )
  less = f"{RGB},model.uncertainty=false"
  assert _convert(weights / "alone.npz", "--config", less, "--output", weights / "a") == 0
  refused(
    *crossmodality,
    f"{teacher}{weights / 'a'}",
    run=trained,
    words=["has no uncertainty_head", "whole network"],
  )


def test_networks_that_need_their_shapes_told_get_them_from_the_recipe(place, weights, monkeypatch):
  """A network without a known input: its variables are those that a fresh run would have."""
  pytest.importorskip("safetensors")
  monkeypatch.setitem(network._REGISTERED, dpt.DPT, network.Network(example=lambda module: None))
  spec = "configs/bicross.py:crossmodality,smoke"  # has a parent
  variables = models.init(models.create("dpt", backbone="nano"), jax.random.key(1), (1, 32, 64, 3))
  torch = to_torch("dpt", variables)
  assert "backbone.vit.block0.attention.qkv.weight" in torch
  np.savez(weights / "generic.npz", **torch)
  assert _convert(weights / "generic.npz", "--config", RGB, "--output", weights / "g") == 0
  _equal(bicross_jax.load(weights / "g").variables, jax.device_get(variables))
  with pytest.raises(errors.UserError, match=r"misshapen: backbone.resnet.stem.conv.weight"):
    convert.main([str(weights / "generic.npz"), "--config", spec, "--output", str(weights / "h")])


def test_a_published_checkpoint_of_epcdepth_predicts(tmp_path, capsys):
  """Its two state dicts come out of one file, and torchvision's encoder goes into a training."""
  torch = pytest.importorskip("torch")
  module = models.create("epcdepth", divisor=16, decoder="plain")
  variables = models.init(module, jax.random.key(0), (1, 32, 64, 3))
  state = {name: torch.tensor(x) for name, x in to_torch("epcdepth", variables).items()}
  part = lambda p: {n.removeprefix(p): x for n, x in state.items() if n.startswith(p)}
  content = {"epoch": 19, "encoder": part("encoder."), "depth_decoder": part("depth_decoder.")}
  torch.save(content, tmp_path / "model18.pth.tar")
  config = "configs/epcdepth.py:tiny,smoke"
  out = tmp_path / "out"
  assert _convert(tmp_path / "model18.pth.tar", "--config", config, "--output", out) == 0
  assert "encoder.encoder.fc" in capsys.readouterr().out  # told as left out
  model = bicross_jax.load(out)
  _equal(model.variables, jax.tree.map(np.asarray, variables))
  rgb = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3)).astype(np.uint8)
  want = jax.jit(module.apply)(variables, rgb / np.float32(255)).maps[0]
  rig = model.config.rig
  inverse = 1 / rig.max_depth + (1 / rig.min_depth - 1 / rig.max_depth) * np.asarray(want)
  np.testing.assert_allclose(model.predict({"rgb": rgb})["depth"], rig.unit / inverse, rtol=1e-4)
  encoder = {n.removeprefix("encoder.encoder."): x for n, x in state.items() if "disps" not in n}
  encoder = {n: x for n, x in encoder.items() if not n.startswith("depth_decoder")}
  torch.save(encoder, tmp_path / "resnet18.pth")
  alone = tmp_path / "alone"
  assert _convert(tmp_path / "resnet18.pth", "--config", config, "--output", alone) == 0
  assert "the encoder alone" in capsys.readouterr().out
  with pytest.raises(errors.UserError, match="holds encoder alone"):
    bicross_jax.load(alone)
