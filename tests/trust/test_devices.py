"""Devices: four equal one, draws, restarts, and checkpoints that change machines.

That four devices equal one is shown for every recipe in tests/recipes; that several processes do
in tests/train/test_two_processes.py.
"""

import itertools
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest

import bicross_jax
from bicross_jax import errors
from bicross_jax.train import checkpoints

FOUR = """
import pathlib, signal, sys
from tests.train import toy
place = pathlib.Path(sys.argv[1])
toy.train(place / "whole", toy.create(local=True))
toy.train(place / "killed", toy.create(local=True))
toy.train(place / "plain", toy.create(0.0, local=True))
try:
  toy.train(place / "moved", toy.create(0.0), toy.Data({9: toy.send(signal.SIGTERM)}))
except toy.loop.Stopped as stopped:
  print("moved at", stopped.step)
"""


@pytest.fixture(scope="module")
def four(toy_killed, python, tmp_path_factory):
  """A folder with runs of the toy recipe by four devices.

  whole: with noise from the steps' keys, and each device's last mean kept in `local`; killed: the
  same, killed once; plain: without noise; moved: stopped on the way, with nothing in `local`.
  """
  place = tmp_path_factory.mktemp("four")
  done = toy_killed("step:8", place / "killed", "--local", devices=4)
  assert done.returncode == -signal.SIGKILL, done.stderr
  done = python("-c", FOUR, place, devices=4)
  assert done.returncode == 0, done.stderr
  assert "killed goes on at step" in done.stdout and "moved at" in done.stdout
  return pathlib.Path(place)


def test_draws_differ_between_devices_and_repeat_after_a_kill(toy, four, left):
  left(four / "killed").assert_equals(left(four / "whole"))
  local = left(four / "killed").state(12)["local"]
  assert local["rows"].tolist() == [24] * 4
  noise = local["mean"] - toy.batch(11)["x"].reshape(4, 2, -1).mean(1)
  for a, b in itertools.combinations(noise, 2):
    assert np.abs(a - b).max() > 1e-2
  assert 0.02 < noise.std() < 0.2  # 0.1 / sqrt(2), of 20 numbers


def test_four_devices_equal_one(toy, four, left, tmp_path):
  """The same global batch, spread or not; what differs by device is kept for each."""
  toy.train(tmp_path / "1", toy.create(0.0, local=True))
  one, spread = left(tmp_path / "1"), left(four / "plain")
  assert len(one.lines) == len(spread.lines)
  for a, b in zip(one.lines, spread.lines):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=2e-5, atol=1e-6, err_msg=name)
  a, b = one.state(12), spread.state(12)
  np.testing.assert_allclose(a["params"]["w"], b["params"]["w"], rtol=1e-5)
  np.testing.assert_allclose(
    a["batch_stats"]["mean"], b["batch_stats"]["mean"], rtol=1e-4, atol=1e-6
  )
  assert a["local"]["rows"].tolist() == [96] and b["local"]["rows"].tolist() == [24] * 4
  x = toy.batch(11)["x"]
  np.testing.assert_allclose(b["local"]["mean"], x.reshape(4, 2, -1).mean(1), rtol=1e-5)
  # Its run belongs to four devices: here, on one, the state does not fit.
  shutil.copytree(four / "plain", tmp_path / "4")
  (tmp_path / "4" / "result.json").unlink()
  with pytest.raises(errors.UserError, match=r"local.mean: float32\[4, 5\] there"):
    toy.train(tmp_path / "4", toy.create(0.0, local=True))


def test_a_run_of_four_devices_goes_on_with_one_and_with_two(
  toy, four, toy_process, left, tmp_path
):
  start = checkpoints.find(four / "moved", "last").name
  assert 0 < int(start) < 12
  for n in (1, 2):
    shutil.copytree(four / "moved", tmp_path / str(n))
  toy.train(tmp_path / "1", toy.create(0.0))  # this process has one device
  done = toy_process(tmp_path / "2", "--noise", 0, devices=2)
  assert done.returncode == 0 and f"goes on at step {start}" in done.stdout, done.stderr
  toy.train(tmp_path / "whole", toy.create(0.0))
  want = left(tmp_path / "whole").state(12)
  for n in (1, 2):
    got = left(tmp_path / str(n)).state(12)
    for name in ("params", "batch_stats", "teacher"):
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got[name], want[name]
      )


@pytest.mark.nightly
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
