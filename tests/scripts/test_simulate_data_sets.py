"""simulate_spikes.py --data_set: a set's missing streams, in parallel, stopped and gone on with."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bicross_jax import cli
from bicross_jax.data.formats import image, spikes
from bicross_jax.sim import spike_camera
from tests.scripts.conftest import ROOT, script

DRIVE = "2011_09_26_drive_0039_sync"
SIZE = (64, 96)


def run(*args) -> int:
  return cli.run(script("simulate_spikes").main, [str(a) for a in args])


def _drive(root, frames):
  """A drive of the published layout: a pattern that moves two pixels a frame."""
  pattern = np.random.default_rng(0).integers(40, 220, (SIZE[0] // 4, SIZE[1] // 4 + frames, 1))
  pattern = pattern.repeat(4, 0).repeat(4, 1).repeat(3, 2).astype(np.uint8)
  for i in range(frames):
    image.write_png(
      root / "2011_09_26" / DRIVE / "image_02" / "data" / f"{i:010d}.png",
      pattern[:, 2 * i : 2 * i + SIZE[1]],
    )
  return root


def _made(root):
  return {p.name: p.read_bytes() for p in (root / "spike").rglob("*") if p.is_file()}


def test_a_stopped_run_leaves_whole_files_and_the_next_makes_the_rest(tmp_path, capsys):
  count = 60
  root = _drive(tmp_path / "a", count)
  command = [
    sys.executable,
    "scripts/simulate_spikes.py",
    "--data_set",
    "kitti",
    "--listed",
    DRIVE,
    "--data_dir",
    str(root),
    "--workers",
    "2",
  ]
  env = {**os.environ, "PYTHONPATH": str(ROOT)}
  process = subprocess.Popen(
    command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  until = time.time() + 120
  while len(list(root.rglob("*.npy"))) < 2 and process.poll() is None and time.time() < until:
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  _, shown = process.communicate(timeout=60)
  assert process.returncode == 130 and shown.rstrip().endswith("interrupted"), shown
  assert "Traceback" not in shown
  first = _made(root)
  assert 2 <= len(first) < count and all(name.endswith(".npy") for name in first)
  assert {len(data) for data in first.values()} == {128 + 128 * SIZE[0] * SIZE[1]}
  args = ("--data_set", "kitti", "--listed", DRIVE, "--data_dir")
  capsys.readouterr()
  assert run(*args, root) == 0  # in one process
  assert (
    f"{count - len(first)} of {count} frames made, {len(first)} were there"
    in capsys.readouterr().out
  )
  whole = _made(root)
  assert len(whole) == count and first.items() <= whole.items()
  for name in list(first)[:2]:  # what two processes made, one makes, too
    next(root.rglob(name)).unlink()
  assert run(*args, root) == 0 and _made(root) == whole


def test_workers_make_the_layout_of_raw_drives(tmp_path, capsys):
  root = _drive(tmp_path / "raw", 3)
  for workers, out in ((1, "one"), (2, "two")):
    assert run("--kitti_raw", root, "--output", tmp_path / out, "--workers", workers) == 0
    assert "3 of 3 frames made" in capsys.readouterr().out
  one, two = (
    {
      str(p.relative_to(tmp_path / out)): p.read_bytes()
      for p in (tmp_path / out).rglob("*")
      if p.is_file()
    }
    for out in ("one", "two")
  )
  assert one == two and len(one) == 6
  bad = next((tmp_path / "raw").rglob("*1.png"))
  bad.write_bytes(bad.read_bytes()[:70])
  shutil.rmtree(tmp_path / "two")
  assert run("--kitti_raw", root, "--output", tmp_path / "two", "--workers", 2) == 2
  shown = capsys.readouterr().err
  assert "Traceback" not in shown and f"error: {bad}: cannot be decoded" in shown.splitlines()[-1]
  assert not list((tmp_path / "two").rglob("*1.npy")) and not list(tmp_path.rglob("*.part"))


def test_flow_is_the_default_and_moves_what_a_blend_only_fades(tmp_path):
  """At 100 Hz a window is 0.64 of a frame period; the pattern moves 1.3 of its 2 pixels."""
  root = _drive(tmp_path / "a", 3)
  made = {}
  for name, more in (
    ("default", []),
    ("flow", ["--interpolation", "flow"]),
    ("linear", ["--interpolation", "linear"]),
  ):
    shutil.rmtree(root / "spike", ignore_errors=True)
    assert (
      run(
        "--data_set",
        "kitti",
        "--listed",
        DRIVE,
        "--data_dir",
        root,
        "--fps",
        100,
        "--no_random_phase",
        *more,
      )
      == 0
    )
    made[name] = spikes.read_npy(next(root.rglob("*1.npy")))
  np.testing.assert_array_equal(made["default"], made["flow"])
  assert (made["linear"] != made["flow"]).any()
  frames = [image.read_rgb(p) for p in sorted(root.rglob("*.png"))]
  light = np.asarray(spike_camera.light(frames[1]))
  for stream in made.values():
    np.testing.assert_allclose(stream.mean(), light.mean() / 2, atol=0.02)


@pytest.mark.parametrize(
  "args, message",
  [
    (["--data_set", "kitti"], "--data_set needs --data_dir"),
    (["--data_set", "kitti", "--data_dir", "nowhere"], "nowhere: no such file or folder"),
    (["--data_set", "kiti", "--data_dir", "."], "unknown data set 'kiti'"),
    (
      ["--data_set", "respike", "--data_dir", "."],
      "respike has no frames that spike streams are made for",
    ),
    (["--data_set", "kitti", "--data_dir", ".", "--domain", "egen"], "unknown domain 'egen'"),
    (["--data_set", "vkitti", "--data_dir", "."], "Virtual KITTI is read from"),
    (
      ["--data_set", "kitti", "--data_dir", ".", "--output", "o"],
      "--output does not go with --data_set",
    ),
    (
      ["--data_set", "kitti", "--data_dir", ".", "--windows"],
      "--windows does not go with --data_set",
    ),
    (["--data_set", "kitti", "--data_dir", ".", "--size", "8x8"], "--size does not go with"),
    (["--data_set", "kitti", "--data_dir", ".", "--workers", "0"], "--workers 0 is not positive"),
    (
      ["--data_set", "kitti", "--data_dir", ".", "--domain", "eigen", "--listed", "x"],
      "either --domain or",
    ),
    (["x", "--data_set", "kitti"], "one of an input, --kitti_raw and --data_set"),
    ([".", "--output", "o.npy", "--workers", "2"], "--workers is for"),
    ([".", "--output", "o.npy", "--domain", "eigen"], "--domain does not go with an input"),
  ],
)
def test_mistakes_are_one_line_and_status_2(args, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert run(*args) == 2
  err = capsys.readouterr().err
  assert err.startswith("error: ") and err.count("\n") == 1 and message in err, err
  assert not list(pathlib.Path.cwd().iterdir())
