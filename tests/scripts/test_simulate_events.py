"""The script that makes event files, in process: on tiny videos, and beside a real event camera."""

import subprocess
import sys

import h5py
import imageio.v3 as iio
import numpy as np
import pytest

from bicross_jax import cli
from bicross_jax.data.event_counts import histogram
from bicross_jax.data.formats import events, image
from bicross_jax.data.simulate import spike_files
from bicross_jax.ops.keys import named_key
from bicross_jax.sim import event_camera
from tests.scripts.conftest import ROOT, script
from tests.sim import events_by_hand

SIZE = (24, 40)


def run(*args) -> int:
  return cli.run(script("simulate_events").main, [str(a) for a in args])


def _frames(count=4):
  """A bright bar of soft edges that moves by two pixels a frame."""
  columns = np.arange(SIZE[1])[None, None, :, None]
  place = 8 + 2 * np.arange(count)[:, None, None, None]
  bar = 30 + 200 * np.exp(-((columns - place) ** 2) / 18)
  return np.broadcast_to(bar, (count, *SIZE, 3)).astype(np.uint8)


def _write(folder, frames):
  for i, frame in enumerate(frames):
    image.write_png(folder / f"f{i}.png", frame)
  return folder


@pytest.fixture
def pictures(tmp_path):
  return _write(tmp_path / "pictures", _frames())


def _read(path) -> events.Events:
  with events.open_events(path) as file:
    return file.read(0, file.count)


def test_the_file_has_dsecs_layout_and_the_events_of_the_frames(pictures, tmp_path, capsys):
  out = tmp_path / "new" / "events.h5"
  assert run(pictures, "--fps", 20, "--output", out) == 0
  found = _read(out)
  assert f"{out}: {len(found.t)} events of 24x40 in 0.150 s" in capsys.readouterr().out
  with events.open_events(out) as file:
    assert file.size == SIZE
  with h5py.File(out) as raw:
    kinds = {name: raw["events"][name].dtype for name in "xytp"}
    assert kinds == {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
    assert raw["t_offset"][()] == 0
    first = np.searchsorted(found.t, np.arange(len(raw["ms_to_idx"])) * 1000)
    np.testing.assert_array_equal(raw["ms_to_idx"], first)
  assert (np.diff(found.t) >= 0).all() and 0 <= found.t[0] and found.t[-1] <= 150_000

  sensor = event_camera.Sensor()
  lights = [spike_files.light_of(frame) for frame in _frames()]
  state = event_camera.start(named_key(0, "events.h5"), lights[0], sensor)
  by_hand = events_by_hand.events(
    lights, np.arange(4) / 20, state.level, (state.on, state.off), sensor
  )
  assert len(by_hand) > 3000
  order = lambda rows: sorted(rows, key=lambda row: (row[:2], row[3], row[2]))
  mine = order(zip(found.y.tolist(), found.x.tolist(), found.t.tolist(), found.p.tolist()))
  theirs = order((y, x, round(t * 1e6), bool(on)) for _, y, x, t, on in by_hand)
  assert [row[:2] + row[3:] for row in mine] == [row[:2] + row[3:] for row in theirs]
  off = [abs(a[2] - b[2]) for a, b in zip(mine, theirs)]
  assert max(off) <= 50 and np.mean(off) < 0.05  # float32 where light hardly moves


def test_options_have_their_effect(pictures, tmp_path):
  def made(*options):
    out = tmp_path / f"o{len(list(tmp_path.iterdir()))}" / "e.h5"
    assert run(pictures, "--fps", 20, "--output", out, *options) == 0
    return _read(out)

  plain, again = made(), made()
  for a, b in zip(plain, again):
    np.testing.assert_array_equal(a, b)
  count = lambda e: (e.p.sum(), (~e.p).sum())
  on, off = count(plain)
  assert count(made("--threshold_on", 0.4))[0] < 0.6 * on
  fewer = count(made("--threshold_off", 0.4))
  assert fewer[1] < 0.6 * off
  assert len(made("--refractory", 0.1).t) < 0.3 * len(plain.t)
  assert count(made("--leak", 50))[0] > on + 500
  assert len(made("--mismatch", 0).t) != len(plain.t)
  other = made("--seed", 1)
  assert len(other.t) != len(plain.t) or (other.x != plain.x).any()
  small = made("--size", "12x20")
  assert small.x.max() < 20 and small.y.max() < 12
  slow = made("--fps", 10)  # the later one counts
  assert 200_000 < slow.t[-1] <= 300_000


def test_flow_moves_what_a_blend_fades(tmp_path):
  """A bar jumps by six pixels. Half way, events made with flow have come where it is by then."""
  frames = np.full((2, 64, 96, 3), 40, np.uint8)
  texture = np.random.default_rng(0).integers(120, 230, (32, 24, 3), np.uint8)
  for i, frame in enumerate(frames):
    frame[16:48, 30 + 6 * i : 54 + 6 * i] = texture
  folder, found = _write(tmp_path / "in", frames), {}
  for kind in ("linear", "flow"):
    out = tmp_path / f"{kind}.h5"
    plain = ("--mismatch", 0, "--leak", 0, "--refractory", 0)
    assert run(folder, "--fps", 10, "--interpolation", kind, "--output", out, *plain) == 0
    seen = _read(out)
    seen = events.Events(*(column[(seen.y >= 20) & (seen.y < 44)] for column in seen))
    found[kind] = histogram(seen, 0, 100_000, bins=2, size=(64, 96)).sum(0)[:, :, 0].astype(int)
  near, far = slice(54, 57), slice(57, 60)  # reached in the first and the second half
  early, late = found["linear"][near].sum(0)
  assert 0.3 < late / early < 1.5
  assert found["flow"][near, 0].sum() > 3 * found["flow"][near, 1].sum()
  assert found["flow"][far, 1].sum() > 3 * found["flow"][far, 0].sum()


def test_frames_of_a_video_stand_at_their_times(tmp_path):
  video, out = tmp_path / "v.mp4", tmp_path / "v.hdf5"
  iio.imwrite(video, _frames(5), fps=25, macro_block_size=None)
  assert run(video, "--output", out) == 0
  found = _read(out)
  assert len(found.t) > 1000 and 120_000 < found.t[-1] <= 160_000


def test_a_still_video_has_an_empty_file(tmp_path):
  folder = _write(tmp_path / "in", np.full((3, *SIZE, 3), 90, np.uint8))
  out = tmp_path / "e.h5"
  assert run(folder, "--fps", 10, "--output", out, "--leak", 0) == 0
  assert len(_read(out).t) == 0


def test_an_output_is_replaced_only_when_told(pictures, tmp_path, capsys):
  args = (pictures, "--fps", 20, "--output", tmp_path / "e.h5")
  assert run(*args) == 0
  before = (tmp_path / "e.h5").read_bytes()
  assert run(*args, "--seed", 1) == 2
  assert "--overwrite replaces it" in capsys.readouterr().err
  assert (tmp_path / "e.h5").read_bytes() == before
  assert run(*args, "--seed", 1, "--overwrite") == 0
  assert (tmp_path / "e.h5").read_bytes() != before


def test_signed_sums_are_those_of_a_real_event_camera(samples, tmp_path):
  """The frames of a DAVIS sensor give events like those that it saw itself in the same 0.11 s.

  Per pixel the sums of +1 and -1 correlate by 0.79, and by 0.88 where both are blurred by a pixel.
  """
  real = samples / "davis_slider_depth"
  count = len(list((real / "images").iterdir()))
  last = float((real / "images.txt").read_text().splitlines()[count - 1].split()[0])
  out = tmp_path / "events.h5"
  assert run(real / "images", "--fps", (count - 1) / last, "--output", out) == 0
  size = image.size(next((real / "images").iterdir()))
  with events.open_events(real / "events.txt", size=size) as file:
    seen = file.read(0, file.count)
  begin, end = int(seen.t[0]), round(last * 1e6)

  def signed(found):
    counts = histogram(found, begin, end, bins=1, size=size).astype(float)[:, :, 0]
    return (counts[..., 0] - counts[..., 1]).ravel()

  correlation = np.corrcoef(signed(_read(out)), signed(seen))[0, 1]
  assert correlation == pytest.approx(0.79, abs=0.03)


@pytest.mark.parametrize(
  "args,message",
  [
    (["x"], "--output"),
    (["missing.mp4", "--output", "o.h5"], "missing.mp4: no such file"),
    ([".", "--output", "o.txt"], "o.txt: events are written as .h5"),
    ([".", "--output", "o.h5"], "holds no pictures"),
    ([".", "--output", "o.h5", "--fps", "0"], "0 is not positive"),
    ([".", "--output", "o.h5", "--threshold_on", "nan"], "not positive"),
    ([".", "--output", "o.h5", "--refractory", "-1"], "--refractory"),
    ([".", "--output", "o.h5", "--size", "10"], "no size such as"),
    ([".", "--output", "o.h5", "--seed", "-1"], "--seed -1"),
    ([".", "--output", "o.h5", "--interpolation", "magic"], "invalid choice"),
  ],
)
def test_mistakes_are_one_line_and_status_2(args, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert run(*args) == 2
  err = capsys.readouterr().err
  assert err.startswith("error: ") and err.count("\n") == 1 and message in err
  assert not list(tmp_path.iterdir())


def test_more_mistakes(pictures, tmp_path, capsys):
  inside = pictures / "f0.png" / "o.h5"
  one = _write(tmp_path / "one", _frames(1))
  for args, message in (
    ((pictures, "--output", tmp_path / "o.h5"), "give --fps"),
    ((pictures, "--output", inside, "--fps", 10), "cannot be written"),
    ((one, "--output", tmp_path / "o.h5", "--fps", 10), "one frame; events need a change"),
    ((pictures, "--output", tmp_path / "o.h5", "--fps", 1e-4), "do not fit"),
  ):
    assert run(*args) == 2
    err = capsys.readouterr().err
    assert message in err and err.splitlines()[-1].startswith("error: ")
  (pictures / "f2.png").write_bytes((pictures / "f2.png").read_bytes()[:60])
  assert run(pictures, "--output", tmp_path / "o.h5", "--fps", 10) == 2
  assert "f2.png: cannot be decoded" in capsys.readouterr().err
  assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "pictures"]


def test_arguments_are_checked_before_jax_is_imported():
  path = ROOT / "scripts" / "simulate_events.py"
  code = (
    "import runpy, sys; sys.argv = ['s', 'missing', '--output', 'o.h5']\n"
    f"try: runpy.run_path({str(path)!r}, run_name='__main__')\n"
    "except SystemExit as e: status = e.code\n"
    "assert status == 2 and 'jax' not in sys.modules and 'cv2' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
