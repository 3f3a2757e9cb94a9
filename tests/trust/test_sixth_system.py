"""A new system is one module with its config; nothing of the package knows it.

What every stage of a system must pass, the sixth passes in tests/systems.
"""

import json
import pathlib

import numpy as np
import pytest

import bicross_jax
from bicross_jax import errors
from tests.scripts.conftest import place, shared, trained  # noqa: F401 (fixtures)

FILE = pathlib.Path(__file__).resolve().parent / "sixth.py"


def test_a_sixth_system_of_60_lines_learns_and_is_run_only_when_named(trained):
  assert len(FILE.read_text().splitlines()) <= 60
  run = trained("sixth-rates")
  lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  losses = [line["train/loss"] for line in lines if "train/loss" in line]
  assert len(losses) == 20
  assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4]), losses
  result = json.loads((run / "result.json").read_text())
  assert result["after"]["abs_rel"] < result["before"]["abs_rel"]
  with pytest.raises(errors.UserError, match="--plugin tests.trust.sixth"):
    bicross_jax.load(run)
