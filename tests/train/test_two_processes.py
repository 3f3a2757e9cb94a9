"""Several processes that train one run: as one process with as many devices would."""

from concurrent import futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import bicross_jax
from bicross_jax import errors
from bicross_jax.train import processes, runs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SMOKE = [
  "--config",
  str(ROOT / "configs" / "bicross.py:pretrain,smoke"),
  "--config.train.steps=4",
  # Adam's first steps are as large where the order of sums alone decides their direction.
  "--config.optim.warmup=50",
]


def free_port():
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def environment(index, port):
  return {
    "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": str(index),
  }


def slurm(index, port):
  """What `srun --ntasks=2` sets."""
  return {
    "SLURM_JOB_ID": "1",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": str(index),
    "SLURM_LOCALID": str(index),
    "SLURM_STEP_NUM_NODES": "1",
    "JAX_COORDINATOR_PORT": str(port),
  }


@pytest.fixture(scope="module")
def two(toy_process):
  """two(workdir, *flags): toy.py as two processes of two devices; the finished processes."""

  def call(workdir, *flags, launched=environment, workdirs=None):
    port = free_port()
    with futures.ThreadPoolExecutor(2) as pool:
      each = [
        pool.submit(
          toy_process, (workdirs or (workdir, workdir))[k], *flags, devices=2, **launched(k, port)
        )
        for k in range(2)
      ]
    return [future.result() for future in each]

  return call


def assert_close(a, b):
  """What two runs left: the same but for the order of sums."""
  assert len(a.lines) == len(b.lines) and a.steps == b.steps
  for x, y in zip(a.lines, b.lines):
    assert x.keys() == y.keys()
    for name in x:
      np.testing.assert_allclose(y[name], x[name], rtol=1e-4, atol=1e-6, err_msg=name)
  x, y = a.state(a.steps[-1]), b.state(b.steps[-1])
  assert jax.tree.structure(x) == jax.tree.structure(y)
  for (path, u), v in zip(jax.tree_util.tree_leaves_with_path(x), jax.tree.leaves(y)):
    # Attention does not depend on the bias of its keys: Adam makes steps of rounding errors there.
    np.testing.assert_allclose(v, u, rtol=1e-4, atol=1e-5, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_two_processes_equal_one(two, toy_process, left, tmp_path):
  """Process 1 is asked to stop: both do, at one step; the same command goes on, also by srun."""
  stopped = two(tmp_path / "two", "--local", "--term", 6)
  assert [p.returncode for p in stopped] == [0, 0], stopped[0].stderr + stopped[1].stderr
  step = left(tmp_path / "two").steps[-1]
  assert 0 < step < 12 and f"saved at step {step};" in stopped[0].stdout
  assert not (tmp_path / "two" / "result.json").exists()
  done = two(tmp_path / "two", "--local", launched=slurm)
  assert [p.returncode for p in done] == [0, 0], done[0].stderr + done[1].stderr
  assert f"goes on at step {step} of 12" in done[0].stdout and "is done" in done[0].stdout
  shown = [line for line in (done[1].stdout + done[1].stderr).splitlines() if "Gloo" not in line]
  assert not [line for line in shown if "step" in line]  # one process speaks
  one = toy_process(tmp_path / "one", "--local", devices=4)
  assert one.returncode == 0, one.stderr
  a, b = left(tmp_path / "one"), left(tmp_path / "two")
  assert_close(a, b)
  assert b.state(12)["local"]["rows"].tolist() == [24] * 4
  kinds = lambda run: {p.name for p in run.workdir.iterdir() if "tfevents" not in p.name}
  assert kinds(a) == kinds(b) == {"config.json", "metrics.jsonl", "result.json", "checkpoints"}
  assert (a.workdir / "config.json").read_text() == (b.workdir / "config.json").read_text()


def test_folder_that_is_not_shared(two, tmp_path):
  done = two(None, workdirs=(tmp_path / "a", tmp_path / "b"))
  assert all(p.returncode == 1 for p in done)
  assert all("not all processes see" in p.stderr for p in done)
  assert not (tmp_path / "b").exists()


def test_fields_and_environment():
  fields = {"coordinator": "host:1234", "processes": 4, "process": 3}
  explicit = {
    "coordinator_address": "host:1234",
    "num_processes": 4,
    "process_id": 3,
    "cluster_detection_method": "deactivate",
  }
  assert processes.wanted(fields, slurm(0, 1)) == explicit
  env = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
  assert processes.wanted({}, env) == explicit
  assert processes.wanted(dict.fromkeys(fields), {}) is None
  assert processes.wanted({}, slurm(1, 1)) == {}
  assert processes.wanted({}, {**slurm(0, 1), "SLURM_NTASKS": "1"}) is None
  assert processes.wanted({}, {"SLURM_NTASKS": "4"}) is None  # sbatch alone starts one process
  mpi = {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://h:1", "OMPI_COMM_WORLD_SIZE": "2"}
  assert processes.wanted({}, {**mpi, "JAX_COORDINATOR_ADDRESS": "host:1"}) == {}
  assert processes.wanted({**fields, "processes": 1, "process": 0}, {}) is None


@pytest.mark.parametrize(
  "fields, env, words",
  [
    ({"coordinator": "h:1"}, {}, "lacks processes and process:"),
    ({"processes": 2, "process": 0}, {}, "lacks coordinator:"),
    ({}, {"JAX_PROCESS_ID": "1"}, "lacks coordinator and processes:"),
    ({"coordinator": "h:1", "processes": 2, "process": 2}, {}, "process=2 must be 0 to 1"),
    ({"coordinator": "h:1", "processes": 2, "process": -1}, {}, "process=-1 must be 0 to 1"),
    ({"coordinator": "h", "processes": 2, "process": 0}, {}, "'h' is not host:port"),
    (
      {},
      {"JAX_COORDINATOR_ADDRESS": "h:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"},
      "JAX_NUM_PROCESSES='two' is not a whole number",
    ),
  ],
)
def test_wrong_fields_are_one_line(fields, env, words):
  with pytest.raises(errors.UserError, match=words) as error:
    processes.wanted(fields, env)
  assert "\n" not in str(error.value)


def test_where_a_run_is_computed_does_not_name_it():
  here = {"seed": 1, "distributed": {"process": 1}}
  assert runs.plain(here) == {"seed": 1}
  assert runs.config_hash(here) == runs.config_hash({"seed": 1})
  assert not runs.differences({"seed": 1}, here)


class Training:
  """scripts/train.py of the BiCross recipe on a tiny world, as processes with 4 devices in all."""

  def __init__(self, folder, workdir, count, *flags):
    port = free_port()
    self.logs = [folder / f"{workdir.name}.{k}.log" for k in range(count)]
    self.processes = []
    for k, log in enumerate(self.logs):
      where = [
        f"--config.distributed.{name}={value}"
        for name, value in (
          ("coordinator", f"127.0.0.1:{port}"),
          ("processes", count),
          ("process", k),
        )
      ]
      command = [
        sys.executable,
        ROOT / "scripts" / "train.py",
        *SMOKE,
        "--workdir",
        workdir,
        *flags,
        *where,
      ]
      env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": (
          f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={4 // count}"
        ),
        "BICROSS_DATA": str(folder / "data"),
        "BICROSS_COMPILE_CACHE": "0",
      }
      with log.open("w") as file:
        self.processes.append(
          subprocess.Popen(
            list(map(str, command)), env=env, cwd=folder, stdout=file, stderr=subprocess.STDOUT
          )
        )

  def wait(self):
    """Waits; all must end with status 0. Returns what process 0 said."""
    for process in self.processes:
      process.wait(timeout=900)
    said = [log.read_text() for log in self.logs]
    assert all(p.returncode == 0 for p in self.processes), "\n".join(s[-3000:] for s in said)
    return said[0]


@pytest.mark.slow
def test_bicross_by_two_processes(left, tmp_path):
  """Both build the world at once; one checkpoint, which a single device restores."""
  Training(tmp_path, tmp_path / "two", 2).wait()
  Training(tmp_path, tmp_path / "one", 1).wait()
  assert_close(left(tmp_path / "one"), left(tmp_path / "two"))
  assert json.loads((tmp_path / "two" / "result.json").read_text())["steps"] == 4
  spike = {"rgb": np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)}
  depths = [bicross_jax.load(tmp_path / name).predict(spike)["depth"] for name in ("one", "two")]
  np.testing.assert_allclose(depths[1], depths[0], rtol=1e-3)


@pytest.mark.nightly
def test_bicross_is_stopped_through_one_of_two_processes(left, tmp_path):
  flags = ("--config.train.steps=60", "--config.train.validate_every=60")
  training = Training(tmp_path, tmp_path / "run", 2, *flags)
  file = tmp_path / "run" / "metrics.jsonl"
  while training.processes[1].poll() is None:
    if file.is_file() and "train/loss" in file.read_text():
      break
    time.sleep(0.05)
  training.processes[1].send_signal(signal.SIGTERM)
  said = training.wait()
  [step] = left(tmp_path / "run").steps
  assert 0 < step < 60 and f"saved at step {step};" in said
  said = Training(tmp_path, tmp_path / "run", 2, *flags).wait()
  assert f"goes on at step {step} of 60" in said
  logged = [r["step"] for r in left(tmp_path / "run").lines if "train/loss" in r]
  assert logged == list(range(1, 61))
