"""A new system is one module with its config; nothing of the package knows it."""

import json
import pathlib

import numpy as np
import pytest

import bicross_jax
from bicross_jax import errors
from tests.scripts.conftest import script

FILE = pathlib.Path(__file__).resolve().parent / "sixth.py"


@pytest.mark.slow
def test_a_sixth_system_of_60_lines_trains_through_the_unchanged_loop(here, left):
  assert len(FILE.read_text().splitlines()) <= 60
  assert script("train").main(["--config", f"{FILE}:rates,synthetic"]) == 0
  run = here / "runs" / "sixth" / "rates-synthetic-s0"
  losses = [row["train/loss"] for row in left(run).lines if "train/loss" in row]
  assert len(losses) == 20
  assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4]), losses
  result = json.loads((run / "result.json").read_text())
  assert result["after"]["abs_rel"] < result["before"]["abs_rel"]
  with pytest.raises(errors.UserError, match="--plugin tests.trust.sixth"):
    bicross_jax.load(run)
  model = bicross_jax.load(run, plugins=["tests.trust.sixth"])
  assert model.config.system == "sixth"
  assert model.predict({"spike": np.zeros((2, 32, 64, 16), np.uint8)})["depth"].shape == (2, 32, 64)
