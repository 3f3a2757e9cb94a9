"""A loss that is no longer finite stops the real script."""

import json

import jax
import numpy as np
import pytest

import bicross_jax
from bicross_jax import cli
from tests.scripts.conftest import script
from tests.trust.conftest import PRETRAIN

FIELDS = (
  "train.steps=6",
  "train.checkpoint_every=1",
  "train.validate_every=6",
  "optim.warmup=0",
  "optim.backbone_lr=1e25",
  "optim.head_lr=1e25",
)  # the first step throws the network off


@pytest.mark.slow
def test_the_script_stops_and_the_last_good_checkpoint_restores(left, here, capsys):
  run = here / "run"
  flags = [f"--config.{field}" for field in FIELDS]
  command = [*PRETRAIN, *flags, "--workdir", str(run)]
  assert cli.run(script("train").main, command) == 1
  shown = capsys.readouterr()
  message = shown.err.strip().splitlines()[-1]
  assert message.startswith("error: training diverged: ") and "Traceback" not in shown.err
  assert " loss, " in message and "uncertainty_loss" in message and "at step 2;" in message
  assert str(run / "checkpoints" / "1") in message
  assert not (run / "result.json").exists()
  assert left(run).steps == [1]
  assert "NaN" not in (run / "metrics.jsonl").read_text()
  assert [r["step"] for r in left(run).lines if "train/loss" in r] == [1]
  model = bicross_jax.load(run, "last")
  assert model.meta["step"] == 1
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(model.variables))
  # The same command goes on from there and finds the same.
  assert cli.run(script("train").main, command) == 1
  shown = capsys.readouterr()
  assert "goes on at step 1 of 6" in shown.out and message in shown.err
  assert json.loads((run / "config.json").read_text())["optim"]["head_lr"] == 1e25
