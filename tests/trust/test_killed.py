"""Runs that are killed with SIGKILL and started again end as if nothing had happened."""

import random
import signal

import numpy as np
import pytest

from bicross_jax.train import checkpoints
from tests.trust import killing

FIELDS = (
  "train.steps=12",
  "train.log_every=2",
  "train.validate_every=4",
  "train.checkpoint_every=3",
)


def _read(file):
  """{step: digests of the batches read for it}."""
  read = {}
  for line in file.read_text().splitlines():
    step, digest = line.split()
    read.setdefault(int(step), set()).add(digest)
  return read


@pytest.mark.nightly
def test_five_kills_of_the_real_script_leave_no_trace(train, left, tmp_path):
  """State, data order and metrics, bit for bit; flips are drawn from the steps' keys."""
  done = train(tmp_path / "whole", *FIELDS, batches=tmp_path / "whole.txt")
  assert done.returncode == 0, done.stderr[-3000:]
  went_on = []
  for step in sorted(random.Random(21).sample(range(1, 13), 5)):
    done = train(tmp_path / "killed", *FIELDS, when=f"step:{step}", batches=tmp_path / "killed.txt")
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (tmp_path / "killed" / "result.json").exists()
    went_on.append("goes on at step" in done.stdout)
  done = train(tmp_path / "killed", *FIELDS, batches=tmp_path / "killed.txt")
  assert done.returncode == 0, done.stderr[-3000:]
  assert not went_on[0] and sum(went_on) >= 2 and "goes on at step" in done.stdout, went_on
  whole, killed = left(tmp_path / "whole"), left(tmp_path / "killed")
  killed.assert_equals(whole)
  assert killed.steps == whole.steps
  assert [r["step"] for r in killed.lines if "train/loss" in r] == [2, 4, 6, 8, 10, 12]
  state = killed.state(12)
  assert int(state["step"]) == 12 and len(state["params"]) > 5 and state["opt_state"]
  wanted, got = _read(tmp_path / "whole.txt"), _read(tmp_path / "killed.txt")
  assert set(range(12)) <= got.keys() and len(set.union(*wanted.values())) > 6
  for step in got.keys() & wanted.keys():
    assert got[step] == wanted[step] and len(got[step]) == 1, step


@pytest.mark.nightly
def test_five_kills_leave_no_trace_in_an_ema_teacher(toy_killed, left, tmp_path):
  """The run of the toy recipe, see below; `assert_equals` compares every part of the last state."""
  assert toy_killed("never", tmp_path / "whole").returncode == 0
  run = tmp_path / "killed"
  for step in sorted(random.Random(4).sample(range(1, 13), 5)):
    assert toy_killed(f"step:{step}", run).returncode == -signal.SIGKILL
  assert toy_killed("never", run).returncode == 0
  left(run).assert_equals(left(tmp_path / "whole"))


def test_a_kill_inside_a_checkpoint_write_leaves_the_earlier_one(toy, left, whole, tmp_path):
  """Orbax writes checkpoint 6 in some 25 changes of the file system.

  A process killed before one of them leaves what a copy made there holds. The run of the toy
  recipe has everything a state can hold: an optimiser with a plateau, an EMA teacher, batch
  statistics.
  """
  whole, _ = whole
  assert {"params", "opt_state", "teacher", "batch_stats"} <= whole.state(12).keys()
  run = tmp_path / "run"
  with killing.copies(6, run, tmp_path / "copies") as copies:
    toy.train(run)
  left(run).assert_equals(whole)
  assert len(copies) > 15
  torn = [copy for copy in copies if (copy / "checkpoints/6.orbax-checkpoint-tmp").exists()]
  assert len(torn) > 10  # in the middle of it
  for copy in copies:
    last = int(checkpoints.find(copy, "last").name)
    assert last in (3, 4) if copy in torn else last in (3, 4, 6)
    variables, meta = checkpoints.restore_variables(checkpoints.find(copy, "best"))
    assert meta["step"] == 4 and np.all(np.isfinite(variables["params"]["w"]))
  for copy in [*random.Random(0).sample(torn, 2), copies[-1]]:
    toy.train(copy)
    left(copy).assert_equals(whole)


def test_a_process_killed_inside_a_checkpoint_write_goes_on(toy, toy_killed, left, whole, tmp_path):
  done = toy_killed("write:6:12", tmp_path)
  assert done.returncode == -signal.SIGKILL, done.stderr
  assert (tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp").exists()  # it was in the middle
  assert not (tmp_path / "result.json").exists()
  toy.train(tmp_path)
  left(tmp_path).assert_equals(whole[0])
