"""`scripts/benchmark.py --peer`: ours in a process of its own, and what the peers' networks are."""

import json

import pytest

from bicross_jax import errors
from bicross_jax.commands import contest, peers
from bicross_jax.config import grammar
from bicross_jax.convert.dpt import counterpart
from tests.scripts.conftest import script

SMALL = "configs/bicross.py:pretrain,smoke,model.backbone=small,input.width=32,data.batch_size=1"


def test_benchmark_with_peers_times_both_works_and_writes_them(
  place, tmp_path, monkeypatch, capsys
):
  results = {
    peers.OURS: contest.Result(
      [2.0, 4.0, 3.0],
      9.0,
      2**21,
      {"flops": 6e9, "peak": 1e10, "device": "cpu", "threads": 2, "dtype": "float32"},
    ),
    "transformers": contest.Result([6.0, 5.0, 60.0], 1.0, 2**20, {}),
  }
  asked = []
  monkeypatch.setattr(peers, "chosen", lambda names: names)
  monkeypatch.setattr(peers, "measure", lambda *a, **k: asked.append((a, k)) or results)
  file = tmp_path / "out.json"
  argv = ["--config", SMALL, "--peer", "transformers", "--rounds", "3", "--json", str(file)]
  assert script("benchmark").main(argv) == 0
  assert asked == [
    ((SMALL, [], ["transformers"], work), {"rounds": 3, "seconds": 2.0}) for work in peers.WORKS
  ]
  shown = capsys.readouterr().out
  assert "cpu, 2 threads, float32; 6.0 GFLOP a call; products of matrices make 10 GFLOP/s" in shown
  line = next(line for line in shown.splitlines() if line.startswith("transformers"))
  assert line.split() == "transformers 6.000 s 5.000 s 2.00 10% 1.0 s 1 MiB".split()
  found = json.loads(file.read_text())
  assert [run["work"] for run in found] == list(peers.WORKS)
  assert found[0]["results"]["transformers"]["seconds"] == [6.0, 5.0, 60.0]


def test_ours_in_its_own_process(place):
  found = peers.measure(SMALL, ["input.height=32"], [], "forward", rounds=2, seconds=0.01)
  result = found[peers.OURS]
  assert len(result.seconds) == 2 and min(result.seconds) > 0 and result.ready > 0
  assert result.memory > 2**27 and result.about["threads"] >= 1
  # the 1x1 convolution to the ViT alone: 2 x 512 channels x 384 on 2x2 patches
  assert result.about["flops"] > 2 * 512 * 384 * 4 and result.about["peak"] > 1e9


def test_a_process_that_ends_early_is_said(place, capfd):
  with pytest.raises(errors.TrainingError, match="bicross_jax ended with status 1"):
    peers.measure("nowhere.py", [], [], "forward", rounds=1, seconds=0.01)
  assert "nowhere.py" in capfd.readouterr().err


def test_transformers_takes_squares(place):
  config = grammar.load(SMALL, ["input.width=64"])
  peers.check(config, ["onnxruntime"])
  with pytest.raises(errors.UserError, match="squares; input is 32x64"):
    peers.check(config, ["onnxruntime", "transformers-compiled"])


STEREO = "configs/epcdepth.py:tiny,smoke"


def test_epcdepth_is_compared_in_whole_steps_by_pytorch_alone(place):
  config = grammar.load(STEREO)
  peers.check(config, ["pytorch"])
  assert peers.works(config) == ("prediction", "training step")
  assert peers.works(grammar.load(SMALL)) == peers.WORKS
  assert peers.shape_of(config) == (config.data.batch_size, 32, 64)
  for override, names, said in (
    ("rig.focal=0", ["pytorch"], "focal and config.rig.baseline"),
    ("loss.smoothness=0.1", ["pytorch"], "no smoothness"),
    ("model.encoder=rsu", ["pytorch"], "ResNets alone"),
    ("rig.unit=5.4", ["transformers"], "has DPT alone"),
  ):
    with pytest.raises(errors.UserError, match=said):
      peers.check(grammar.load(STEREO, [override]), names)
  with pytest.raises(errors.UserError, match="has StereoSpike and EPCDepth alone"):
    peers.check(grammar.load(SMALL), ["pytorch"])


@pytest.mark.nightly
@pytest.mark.parametrize("work", peers.WHOLE)
def test_epcdepth_and_its_peer_in_their_processes(place, work):
  pytest.importorskip("torch")
  overrides = ["data.height=64", "model.decoder=full_scale"]
  found = peers.measure(STEREO, overrides, ["pytorch"], work, rounds=1, seconds=0.01)
  assert set(found) == {peers.OURS, "pytorch"}
  assert all(result.seconds[0] > 0 for result in found.values())
  assert found[peers.OURS].about["flops"] > 1e6 and found["pytorch"].about["torch"]


def test_networks_without_a_counterpart(place):
  for arg in ("pretrain,smoke", "neuromorphic,smoke"):
    with pytest.raises(errors.UserError, match="peer"):
      peers.counterpart(grammar.load(f"configs/bicross.py:{arg}"))


@pytest.mark.nightly
@pytest.mark.parametrize("backbone", ["hybrid", "base", "large", "small"])
@pytest.mark.parametrize("channels", [3, 128])
def test_the_counterpart_of_transformers_has_our_parameters(backbone, channels):
  torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
  import jax
  import jax.numpy as jnp

  from bicross_jax import models
  from bicross_jax.models import dpt

  options = dict(uncertainty=False, non_negative=True, invert=False)
  module = models.create("dpt", backbone=backbone, in_channels=channels, **options)
  ours = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, channels)))
  with torch.device("meta"):
    theirs = transformers.DPTForDepthEstimation(
      counterpart.config_of(module, [16 * n for n in dpt.VARIANTS[backbone].grid])
    )
  f = dpt.VARIANTS[backbone].features
  unused = 2 * (9 * f * f + f)  # the first residual unit of the deepest fusion block
  count = sum(x.numel() for x in theirs.parameters())
  assert count == sum(x.size for x in jax.tree.leaves(ours)) + unused


@pytest.mark.nightly
@pytest.mark.parametrize("backbone", ["hybrid", "small"])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_counterpart_runs_at_the_size_of_the_config(backbone, gradients):
  pytest.importorskip("torch"), pytest.importorskip("transformers")
  from bicross_jax import models

  module = models.create("dpt", backbone=backbone, in_channels=3, uncertainty=False)
  call, memory, about = counterpart.runner(module, (1, 64, 64), gradients, 2, False)
  call()
  assert {"began", "torch", "transformers"} <= about.keys()
