"""The script that makes spike streams, in process, on tiny videos and real KITTI frames."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
from PIL import Image
import pytest

from bicross_jax import cli
from bicross_jax.data.formats import depth, image, kitti, spikes
from bicross_jax.sim import spike_camera

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "simulate_spikes.py"
SIZE = (24, 40)


def _script():
  spec = importlib.util.spec_from_file_location("simulate_spikes", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def run(*args) -> int:
  return cli.run(_script().main, [str(a) for a in args])


def _frames(count=3):
  ramp = np.linspace(30, 220, SIZE[1])[None, :, None]
  rise = np.linspace(0, 30, count)[:, None, None, None]
  return np.broadcast_to(ramp + rise, (count, *SIZE, 3)).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path):
  folder = tmp_path / "pictures"
  for i, frame in enumerate(_frames()):
    image.write_png(folder / f"f{i}.png", frame)
  return folder


def _light(frame):
  return np.asarray(spike_camera.light(frame))


def test_windows_of_a_folder(pictures, tmp_path, capsys):
  out = tmp_path / "spike" / "npy"
  assert run(pictures, "--fps", 10, "--output", out, "--windows") == 0
  assert "3 of 3 frames made" in capsys.readouterr().out
  assert [p.name for p in sorted(out.iterdir())] == ["f0.npy", "f1.npy", "f2.npy"]
  for i, frame in enumerate(_frames()):
    stream = np.load(out / f"f{i}.npy")
    assert stream.shape == (128, *SIZE) and stream.dtype == np.uint8 and stream.max() == 1
    # One spike of 128 more or less, and what 3 % of the neighbours' light adds.
    np.testing.assert_allclose(stream.mean(0), _light(frame) / 2, atol=1 / 128 + 0.004)


def test_a_second_run_skips_and_repeats_nothing(pictures, tmp_path, capsys):
  args = (pictures, "--fps", 10, "--output", tmp_path / "out", "--windows")
  assert run(*args) == 0
  first = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").iterdir()}
  (tmp_path / "out" / "f1.npy").unlink()
  capsys.readouterr()
  assert run(*args) == 0
  assert "1 of 3 frames made, 2 were there" in capsys.readouterr().out
  for path, (time, data) in first.items():
    assert path.read_bytes() == data  # the missing one came out the same
    assert (path.stat().st_mtime_ns == time) == (path.name != "f1.npy")


def test_an_output_of_another_size_is_kept_unless_told(pictures, tmp_path, capsys):
  args = (pictures, "--fps", 10, "--output", tmp_path / "out", "--windows", "--steps")
  assert run(*args, 16) == 0
  before = (tmp_path / "out" / "f0.npy").read_bytes()
  assert run(*args, 24) == 2
  assert "--overwrite" in capsys.readouterr().err
  assert (tmp_path / "out" / "f0.npy").read_bytes() == before
  assert run(*args, 24, "--overwrite") == 0
  assert np.load(tmp_path / "out" / "f0.npy").shape == (24, *SIZE)


@pytest.mark.parametrize("suffix", [".dat", ".npy"])
def test_stream_of_a_video(tmp_path, suffix, capsys):
  video, out = tmp_path / "v.mp4", tmp_path / f"s{suffix}"
  iio.imwrite(video, _frames(4), fps=30, macro_block_size=None)
  assert run(video, "--output", out, "--no_random_phase") == 0
  assert f"{out}: 2000 steps of 24x40" in capsys.readouterr().out
  stream = spikes.read(out, height=24, width=40)
  assert stream.shape == (2000, *SIZE)
  first, last = _frames(4)[0], _frames(4)[-1]
  np.testing.assert_allclose(stream[:100].mean(0), _light(first) / 2, atol=0.04)
  np.testing.assert_allclose(stream[-100:].mean(0), _light(last) / 2, atol=0.04)
  time = out.stat().st_mtime_ns
  assert run(video, "--output", out) == 0
  assert "was there" in capsys.readouterr().out and out.stat().st_mtime_ns == time


def test_options_have_their_effect(pictures, tmp_path):
  def rate(*options):
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
    assert run(pictures, "--fps", 1000, "--output", out, *options) == 0
    return np.load(out).astype(float)

  plain = rate()
  assert plain.shape == (40, *SIZE)
  assert abs(rate("--gain", 0.5).mean() / plain.mean() - 0.5) < 0.1
  assert abs(rate("--threshold", 4).mean() / plain.mean() - 0.5) < 0.1
  assert rate("--dark_current", 0.5).mean() > plain.mean() + 0.15
  assert rate("--no_random_phase")[:, :, 0].sum() < plain[:, :, 0].sum()
  assert (rate("--shot_noise", 0.1) != rate()).any()
  pattern = rate("--fixed_pattern", 0.5).mean(0)
  assert pattern[:, 12].std() > plain.mean(0)[:, 12].std()
  assert rate("--rate", 10_000).shape == (16, *SIZE)
  assert rate("--size", "12x20").shape == (40, 12, 20)
  assert (rate("--seed", 1) != rate("--seed", 2)).any()
  np.testing.assert_allclose(
    rate("--interpolation", "flow", "--size", "64x96").mean(), plain.mean(), atol=0.02
  )


def test_kitti_layout_from_raw_drives(samples, tmp_path, capsys):
  root = tmp_path / "raw" / "2011_09_26"
  source = samples / "kitti_raw" / "2011_09_26"
  drive = "2011_09_26_drive_0002_sync"
  for path in source.glob("calib_*.txt"):
    (root / path.name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, root)
  for name in (
    "image_02/data/0000000003.png",
    "image_02/data/0000000004.png",
    "velodyne_points/data/0000000003.bin",
  ):
    (root / drive / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / drive / name, root / drive / name)
  args = ("--kitti_raw", tmp_path / "raw", "--output", tmp_path / "out", "--steps", 16)
  assert run(*args) == 0
  folder = tmp_path / "out" / "input" / "2011_09_26" / drive
  made = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
  assert made == {
    "rgb/0000000003.png",
    "rgb/0000000004.png",
    "spike/npy/0000000003.npy",
    "spike/npy/0000000004.npy",
    "depth/0000000003.png",
  }
  original = source / drive / "image_02" / "data" / "0000000003.png"
  assert (folder / "rgb" / "0000000003.png").read_bytes() == original.read_bytes()
  got = depth.read_png16(folder / "depth" / "0000000003.png", depth.KITTI)
  scan = kitti.read_velodyne(source / drive / "velodyne_points" / "data" / "0000000003.bin")
  want = kitti.eigen_depth(scan, kitti.raw_calibration(source).projection, (375, 1242))
  assert (got > 0).sum() == 19299
  np.testing.assert_allclose(got, want, atol=0.51 / 256)
  stream = spikes.read_npy(folder / "spike" / "npy" / "0000000003.npy")
  assert stream.shape == (16, 375, 1242)
  light = _light(image.read_rgb(original))
  assert np.corrcoef(stream.mean(0).ravel(), light.ravel())[0, 1] > 0.98
  capsys.readouterr()
  assert run(*args) == 0
  assert "0 of 2 frames made, 2 were there" in capsys.readouterr().out


def _raw_tree(root, drives):
  """A raw tree of small pictures: drive -> (names of images, bytes of each scan by name)."""
  date = root / "2011_09_26"
  date.mkdir(parents=True)
  camera = "R_rect_00: 1 0 0 0 1 0 0 0 1\r\nP_rect_02: 20 0 20 0 0 20 12 0 0 0 1 0\r\n"
  (date / "calib_cam_to_cam.txt").write_bytes(camera.encode())
  (date / "calib_velo_to_cam.txt").write_bytes(b"R: 0 -1 0 0 0 -1 1 0 0\r\nT: 0 0 0\r\n")
  for drive, (images, scans) in drives.items():
    for name in images:
      file = date / drive / "image_02" / "data" / name
      file.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(_frames(1)[0]).save(file)
    for name, content in scans.items():
      file = date / drive / "velodyne_points" / "data" / name
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_bytes(content)


def _made(folder):
  return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_raw_drives_with_gaps_and_other_suffixes(tmp_path, capsys):
  scan = np.array([[10, 0, 0, 0.5]], "<f4").tobytes()
  drives = {
    "d_0001_sync": (["0000000000.png", "0000000002.PNG"], {"0000000002.BIN": scan}),
    "d_0002_sync": (["0000000000.JPG"], {"0000000000.bin": scan, "._0000000000.bin": b"?"}),
    "d_0003_extract": (["0000000000.png"], {"0000000000.txt": b"1 2 3 0.5"}),
    "d_0004_sync": ([], {"0000000000.bin": scan}),
  }
  _raw_tree(tmp_path / "raw", drives)
  args = ("--kitti_raw", tmp_path / "raw", "--steps", 16)
  assert run(*args, "--output", tmp_path / "out") == 0
  told = capsys.readouterr().out
  assert "left out: 1 drives whose images are not rectified: 2011_09_26/d_0003_extract" in told
  assert "3 of 3 frames made" in told
  made = tmp_path / "out" / "input" / "2011_09_26"
  assert _made(made) == [
    "d_0001_sync/depth/0000000002.png",
    "d_0001_sync/rgb/0000000000.png",
    "d_0001_sync/rgb/0000000002.png",
    "d_0001_sync/spike/npy/0000000000.npy",
    "d_0001_sync/spike/npy/0000000002.npy",
    "d_0002_sync/depth/0000000000.png",
    "d_0002_sync/rgb/0000000000.png",
    "d_0002_sync/spike/npy/0000000000.npy",
  ]
  metres = depth.read_png16(made / "d_0001_sync/depth/0000000002.png", depth.KITTI)
  assert np.argwhere(metres).tolist() == [[11, 19]] and metres.max() == 10  # KITTI counts from 1
  image.read_rgb(made / "d_0002_sync/rgb/0000000000.png")  # a PNG indeed
  (tmp_path / "raw/2011_09_26/d_0001_sync/velodyne_points/data/0000000002.BIN").write_bytes(b"")
  assert run(*args, "--output", tmp_path / "two") == 2
  assert "0000000002.BIN: 0 bytes are no whole number of points" in capsys.readouterr().err


def test_raw_drives_that_are_not_rectified_alone_are_refused(tmp_path, capsys):
  _raw_tree(tmp_path / "raw", {"d_0003_extract": (["0000000000.png"], {})})
  assert run("--kitti_raw", tmp_path / "raw", "--output", tmp_path / "out") == 2
  assert "d_0003_extract (expected KITTI raw, synced and rectified)" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_frames_of_a_folder_are_taken_in_the_order_of_their_numbers(tmp_path):
  for k in range(1, 13):
    image.write_png(tmp_path / "in" / f"{k}.png", np.full((16, 24, 3), k * 20, np.uint8))
    (tmp_path / "in" / f"._{k}.png").write_bytes(bytes(200))
  out = tmp_path / "out.npy"
  assert run(tmp_path / "in", "--fps", 100, "--output", out) == 0
  rates = np.load(out).reshape(11, 200, -1).mean((1, 2))
  assert (np.diff(rates) > 0).all()


def test_frames_of_a_video_stand_at_their_time_stamps(tmp_path):
  """One dark frame, a bright one after 10 ms, and the same again after another 90 ms."""
  frames = np.stack([np.full((32, 48, 3), v, np.uint8) for v in (20, 230, 230)])
  command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo"]
  command += ["-pix_fmt", "rgb24", "-s", "48x32", "-i", "-", "-fps_mode", "vfr"]
  command += ["-vf", "settb=1/1000,setpts='if(lt(N,2),N*10,100)'", "-enc_time_base", "1:1000"]
  command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "1", "12:30.mp4"]
  command[-1] = str(tmp_path / command[-1])
  subprocess.run(command, input=frames.tobytes(), check=True)
  out = tmp_path / "out.npy"
  assert run(tmp_path / "12:30.mp4", "--output", out) == 0
  stream = np.load(out)
  dark, bright = _light(frames[:2]).mean((1, 2)) / 2  # spikes a step
  assert len(stream) == 2000
  assert stream[:200].mean() == pytest.approx((dark + bright) / 2, abs=0.02)
  assert stream[200:].mean() == pytest.approx(bright, abs=0.02)
  folder = tmp_path / "windows"
  assert run(tmp_path / "12:30.mp4", "--windows", "--steps", 400, "--output", folder) == 0
  middle = np.load(folder / "000001.npy")  # 10 ms before and after
  assert middle[200:].mean() == pytest.approx(bright, abs=0.02)
  assert middle[:200].mean() == pytest.approx((dark + bright) / 2, abs=0.02)
  last = np.load(folder / "000002.npy")
  assert last.mean() == pytest.approx(bright, abs=0.02)
  assert run(tmp_path / "12:30.mp4", "--fps", 100, "--output", tmp_path / "even.npy") == 0
  assert len(np.load(tmp_path / "even.npy")) == 400


def test_all_sample_frames_are_found_with_their_neighbours(samples):
  from bicross_jax.data.simulate import kitti_raw

  frames = kitti_raw.find_frames(samples / "kitti_raw")
  found = [(f.drive[-9:-5], f.index, f.scan is not None, sorted(f.near)) for f in frames]
  assert found == [
    ("0002", 2, False, [2, 3, 4]),
    ("0002", 3, True, [2, 3, 4]),
    ("0002", 4, False, [2, 3, 4]),
    ("0009", 0, True, [0, 1, 2, 16]),
    ("0009", 1, True, [0, 1, 2, 16]),
    ("0009", 2, True, [0, 1, 2, 16]),
    ("0009", 16, True, [0, 1, 2, 16]),
  ]


@pytest.mark.parametrize(
  "args,message",
  [
    (["x"], "--output"),
    ([], "one of an input"),
    (["--output", "o.dat"], "one of an input"),
    (["missing.mp4", "--output", "o.dat"], "missing.mp4: no such file"),
    ([".", "--output", "o.txt"], "o.txt: a stream is a .dat or .npy"),
    ([".", "--output", "o.dat"], "holds no pictures"),
    ([".", "--output", "o.dat", "--steps", "12"], "multiple of 8"),
    ([".", "--output", "o.dat", "--fps", "0"], "0 is not positive"),
    ([".", "--output", "o.dat", "--fps", "nan"], "not positive"),
    ([".", "--output", "o.dat", "--size", "10"], "no size such as"),
    ([".", "--output", "o.dat", "--gain", "3"], "must not exceed"),
    ([".", "--output", "o.dat", "--seed", "-1"], "--seed -1"),
    ([".", "--output", "o.dat", "--interpolation", "magic"], "invalid choice"),
    ([".", "--output", "o.npy", "--windows"], "must be a folder"),
    (["--kitti_raw", ".", "--output", "o"], "no images in <date>/<drive>"),
    (["--kitti_raw", ".", "--output", "o", "--windows"], "--windows does not go with --kitti_raw"),
  ],
)
def test_mistakes_are_one_line_and_status_2(args, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert run(*args) == 2
  err = capsys.readouterr().err
  assert err.startswith("error: ") and err.count("\n") == 1 and message in err
  assert not list(tmp_path.iterdir())


def test_more_mistakes(pictures, tmp_path, capsys):
  for args, message in (
    ((pictures, "--output", tmp_path / "o.dat"), "give --fps"),
    ((pictures, "--output", tmp_path / "o.dat", "--fps", 10, "--size", "5x5"), "multiple of 8"),
    ((pictures, "--output", pictures / "f0.png" / "o.dat", "--fps", 10), "cannot be written"),
  ):
    assert run(*args) == 2
    assert message in capsys.readouterr().err
  (pictures / "f2.png").write_bytes((pictures / "f2.png").read_bytes()[:60])
  assert run(pictures, "--output", tmp_path / "o.npy", "--fps", 10) == 2
  assert "f2.png: cannot be decoded" in capsys.readouterr().err
  assert sorted(p.name for p in tmp_path.iterdir()) == ["pictures"]


def test_arguments_are_checked_before_jax_is_imported():
  code = (
    "import runpy, sys; sys.argv = ['s', 'missing', '--output', 'o.dat']\n"
    f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    "except SystemExit as e: status = e.code\n"
    "assert status == 2 and 'jax' not in sys.modules and 'cv2' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=SCRIPT.parents[1])
