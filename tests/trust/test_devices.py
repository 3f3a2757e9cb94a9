"""Devices: draws, restarts and checkpoints that change machines.

That four devices equal one is shown for the loop and what it keeps for each device in
tests/train/test_loop.py, and for every recipe in tests/recipes/test_four_devices.py.
"""

import itertools
import shutil
import signal

import jax
import numpy as np
import pytest

import bicross_jax
from bicross_jax.train import checkpoints


def test_draws_differ_between_devices_and_repeat_after_a_restart(toy, toy_killed, left, tmp_path):
  """The toy recipe adds noise to its input and keeps each device's last mean in `local`."""
  for name, when in (("whole", "never"), ("killed", "step:8"), ("killed", "never")):
    done = toy_killed(when, tmp_path / name, "--local", devices=4)
    assert done.returncode == (0 if when == "never" else -signal.SIGKILL), done.stderr
  assert "goes on at step" in done.stdout
  left(tmp_path / "killed").assert_equals(left(tmp_path / "whole"))
  local = left(tmp_path / "killed").state(12)["local"]
  assert local["rows"].tolist() == [24] * 4
  noise = local["mean"] - toy.batch(11)["x"].reshape(4, 2, -1).mean(1)
  for a, b in itertools.combinations(noise, 2):
    assert np.abs(a - b).max() > 1e-2
  assert 0.02 < noise.std() < 0.2  # 0.1 / sqrt(2), of 20 numbers


def test_a_run_of_four_devices_goes_on_with_one_and_with_two(toy, toy_killed, left, tmp_path):
  done = toy_killed("step:11", tmp_path / "4", "--noise", 0, devices=4)
  assert done.returncode == -signal.SIGKILL, done.stderr
  start = checkpoints.find(tmp_path / "4", "last").name
  for n in (1, 2):
    run = tmp_path / str(n)
    shutil.copytree(tmp_path / "4", run)
    done = toy_killed("never", run, "--noise", 0, devices=n)
    assert done.returncode == 0 and f"goes on at step {start}" in done.stdout, done.stderr
  toy.train(tmp_path / "whole", toy.create(0.0))
  want = left(tmp_path / "whole").state(12)
  for n in (1, 2):
    got = left(tmp_path / str(n)).state(12)
    for name in ("params", "batch_stats", "teacher"):
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got[name], want[name]
      )


@pytest.mark.slow
def test_a_real_checkpoint_of_four_devices_opens_on_one_and_goes_on_with_two(train, left, tmp_path):
  fields = ("train.steps=6", "train.checkpoint_every=2", "train.validate_every=2")
  done = train(tmp_path, *fields, when="step:6", devices=4)
  assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
  folder = checkpoints.find(tmp_path, "last")  # 2, or 4 if that was whole by then
  assert folder.name in ("2", "4")
  model = bicross_jax.load(folder)  # this process has one device
  saved = left(tmp_path).state(folder.name)["params"]
  jax.tree.map(np.testing.assert_array_equal, model.variables["params"], saved)
  out = model.predict({"rgb": np.zeros((1, 32, 64, 3), np.uint8)})
  assert np.all(np.isfinite(out["depth"])) and np.all(out["depth"] > 0)
  done = train(tmp_path, *fields, devices=2)
  assert done.returncode == 0 and f"goes on at step {folder.name}" in done.stdout, done.stderr[
    -3000:
  ]
  assert "2 x cpu" in done.stdout
  last = left(tmp_path)
  assert last.steps[-1] == 6 and len([r for r in last.lines if "train/loss" in r]) == 6
