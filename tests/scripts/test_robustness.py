"""`scripts/robustness.py` on a trained network: its numbers are those of the network on such images."""

import json
import zlib

import numpy as np
from PIL import Image
import pytest

from bicross_jax.data import pipeline
from bicross_jax.sim import corruptions
from bicross_jax.tasks import depth
from bicross_jax.train import state as train_state
from tests.systems.contract import checkpoint, main


def test_the_report_of_a_run(trained, model, tmp_path, capsys):
  folder = trained("bicross-pretrain")
  argv = checkpoint("bicross-pretrain", folder)
  chosen = ("--corruptions", "fog,gaussian", "--severities", "1,4")
  main("robustness", *argv, "--output", tmp_path, *chosen)
  shown = capsys.readouterr().out
  assert "3 images" in shown and "mRR" in shown
  found = json.loads((tmp_path / "robustness.json").read_text())

  network = model("bicross-pretrain")
  protocol = depth.TASK.protocol(**network.config.evals[network.config.test].protocol)
  section = network.config[network.config.evals[network.config.test].data]
  spec = train_state.example(network.config.data, "rgb")
  ((batch, truths),) = pipeline.open(section).batches(spec, seed=0).evaluation("test")
  for name, severity in (("clean", 0), ("fog", 4), ("gaussian", 1)):
    rgb = batch["rgb"].copy()
    for i, truth in enumerate(truths) if severity else ():
      seed = zlib.crc32(truth["key"].encode())
      rgb[i] = corruptions.corrupt(batch["rgb"][i], name, severity, seed)
    said = network.predict({**batch, "rgb": rgb})["depth"]
    rows = [depth.TASK.judge({"depth": d}, t, protocol) for d, t in zip(said, truths)]
    cell = found["cells"][name][str(severity)] if severity else found["clean"]
    assert cell["abs_rel"] == pytest.approx(np.mean([row["abs_rel"] for row in rows]), rel=1e-4)
  for name in ("robustness.png", "corruptions.png"):
    assert np.ptp(np.array(Image.open(tmp_path / name).convert("L"))) > 100

  again = ("--baseline", tmp_path / "robustness.json", "--output", tmp_path / "again")
  main("robustness", *argv, *again, "--corruptions", "gaussian", "--severities", "4")
  assert f"mCE 100.0 % of {tmp_path / 'robustness.json'}" in capsys.readouterr().out
