"""`scripts/predict.py` on event files: the same as the network says of the counts of their windows."""

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.commands import event_inputs, predict
from bicross_jax.data import event_counts
from bicross_jax.data.formats import dsec, mvsec
from bicross_jax.data.formats.events import Events
from tests.systems.contract import checkpoint, main

SIZE = (32, 64)
BEGIN = 1_500_000_000_000_000  # microseconds


def _events(seed, size=SIZE, milliseconds=130):
  rng = np.random.default_rng(seed)
  n = 6000
  t = np.sort(rng.integers(0, 1000 * milliseconds, n)) + BEGIN
  t[0], t[-1] = BEGIN, BEGIN + 1000 * milliseconds
  x, y = (rng.integers(0, side, n).astype(np.uint16) for side in size[::-1])
  return Events(x, y, t, rng.random(n) < 0.5)


def _counts(events, start):
  begin = BEGIN + 1000 * start - 1
  return event_counts.histogram(events, begin, begin + 50_000, bins=1, size=SIZE)


def _pair(tmp_path):
  """A pair in DSEC's folders: (path of the left file, both cameras' events)."""
  cameras = [_events(0), _events(1)]
  for name, events in zip(("left", "right"), cameras, strict=True):
    dsec.write_events(tmp_path / name / "drive.h5", [events], SIZE, BEGIN)
  return tmp_path / "left" / "drive.h5", cameras


def test_windows_of_a_pair_of_files(trained, model, tmp_path):
  """Every 40 ms, as long as a window lies whole in the recording; a video besides."""
  name = "stereospike-binocular"
  path, cameras = _pair(tmp_path)
  out = tmp_path / "out"
  argv = ("--stride", 40, "--output", out, "--video", "gif")
  main("predict", path, *checkpoint(name, trained(name)), *argv)
  starts = (0, 40, 80)
  assert sorted(p.name for p in out.glob("*_depth.npy")) == [
    f"drive_{t:07d}_depth.npy" for t in starts
  ]
  assert (out / "drive.gif").stat().st_size > 1000
  for t in starts:
    counts = np.concatenate([_counts(events, t) for events in cameras], axis=-1).astype(np.uint8)
    want = model(name).predict({"events": counts[None]})["depth"][0]
    found = np.load(out / f"drive_{t:07d}_depth.npy")
    np.testing.assert_allclose(found, want, rtol=1e-4)


def test_one_window_of_mvsec_rectified_by_its_maps(tmp_path):
  """The cameras of one file, and maps that move everything two columns to the right."""
  left, right = _events(0, mvsec.SIZE), _events(1, mvsec.SIZE)
  mvsec.write_events(tmp_path / "a_data.hdf5", left, right)
  grid = np.stack(np.meshgrid(np.arange(346.0), np.arange(260.0)))
  for camera in ("left", "right"):
    for axis, table in zip("xy", grid + np.array([2, 0])[:, None, None], strict=True):
      np.savetxt(tmp_path / f"a_{camera}_{axis}_map.txt", table)
  with event_inputs.open_cameras(tmp_path / "a_data.hdf5", 1, 2, None, tmp_path) as cameras:
    counts = cameras.counts(10)
  want = []
  for events in (left, right):
    moved = events._replace(x=events.x + 2)
    kept = moved.x < 346
    moved = Events(*(column[kept] for column in moved))
    begin = BEGIN + 10_000 - 1
    want.append(event_counts.histogram(moved, begin, begin + 50_000, bins=1, size=mvsec.SIZE))
  np.testing.assert_array_equal(counts, np.concatenate(want, axis=-1))


def test_what_cannot_be_read_is_one_line(trained, tmp_path):
  name = "stereospike-binocular"
  path, _ = _pair(tmp_path)
  other = tmp_path / "other.h5"
  dsec.write_events(other, [_events(2, (20, 30))], (20, 30), BEGIN)
  short = tmp_path / "short.h5"
  dsec.write_events(short, [_events(3, SIZE, 20)], SIZE, BEGIN)
  text = tmp_path / "a.txt"
  text.write_text("0.001 3 4 1\n0.002 3 4 0\n")
  run = checkpoint(name, str(trained(name)))
  for argv, said in (
    ([other], "has one camera, and the network reads two"),
    ([path, "--right", other], "and its partner have"),
    ([short, "--right", path], "has events for 20 ms"),
    ([text], "does not say the size of its sensor"),
    ([path, "--rectify", tmp_path], "holds no maps of the left camera"),
    ([path, "--right", tmp_path / "none.h5"], "no such file"),
  ):
    with pytest.raises(errors.UserError, match=said) as error:
      predict.main([str(word) for word in (*argv, *run, "--output", tmp_path / "out")])
    assert "\n" not in str(error.value)
  assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
