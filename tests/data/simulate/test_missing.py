"""Streams for real sets: which frames, where they go, what stands beside them, and resuming."""

import os
import pathlib
import time

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import sets
from bicross_jax.data.formats import image, spikes
from bicross_jax.data.simulate import missing, spike_files
from bicross_jax.sim import spike_camera, streams

SIZE = (16, 24)
PLAN = spike_files.Plan(
  streams.Timing(1000.0), steps=32, sensor=spike_camera.Sensor(random_phase=False)
)
DRIVE = "2011_09_26_drive_0035_sync"
CLOCK = "2018-07-31-11-07-48"
TREES = {  # set, domain: images of the published layout or BiCross's, and the stream of the first
  ("vkitti", "fog", "2.0.3"): (
    [f"Scene01/fog/frames/rgb/Camera_0/rgb_{i:05d}.jpg" for i in range(3)],
    "spike/Scene01/fog/frames/rgb/Camera_0/rgb_00000.npy",
  ),
  ("vkitti", "clone", "1.3.1"): (
    [f"vkitti_1.3.1_rgb/0020/clone/{i:05d}.png" for i in range(3)],
    "spike/vkitti_1.3.1_rgb/0020/clone/00000.npy",
  ),
  ("vkitti", "clone", "BiCross"): (
    [f"input/Scene18/rgb/rgb_{i:05d}.jpg" for i in range(3)],
    "input/Scene18/spike/npy/rgb_00000.npy",
  ),
  ("kitti", "partial", "raw"): (
    [f"2011_09_26/{DRIVE}/image_02/data/{i:010d}.png" for i in range(3)],
    f"spike/2011_09_26/{DRIVE}/image_02/data/0000000000.npy",
  ),
  ("kitti", "partial", "BiCross"): (
    [f"input/{DRIVE}/rgb/{i:010d}.png" for i in range(3)],
    f"input/{DRIVE}/spike/npy/0000000000.npy",
  ),
  ("drivingstereo", "selected", "published"): (
    [f"train-left-image/{CLOCK}/{CLOCK}_2018-07-31-11-07-5{i}-100.jpg" for i in range(3)],
    f"spike/train-left-image/{CLOCK}/{CLOCK}_2018-07-31-11-07-50-100.npy",
  ),
  ("drivingstereo_weather", "rainy", "published"): (
    [f"rainy/left-image-half-size/{CLOCK}_2018-07-31-11-07-5{i}-100.jpg" for i in range(3)],
    f"spike/rainy/left-image-half-size/{CLOCK}_2018-07-31-11-07-50-100.npy",
  ),
  ("nyu", "lists", "published"): (
    [f"kitchen/rgb_{i:05d}.jpg" for i in range(3)],
    "spike/kitchen/rgb_00000.npy",
  ),
  ("nyu", "lists", "BiCross"): (
    [f"input/kitchen/one/rgb/r-{10 + 0.001 * i:.6f}-{i}7.png" for i in range(3)],
    "input/kitchen/one/spike/s-10.000000-07.npy",
  ),
}


def _grey(value):
  return np.full((*SIZE, 3), value, np.uint8)


def _tree(root, paths, name="", write=True):
  for i, path in enumerate(paths):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".png":
      image.write_png(file, _grey(60 + 60 * i))
    else:
      from PIL import Image

      Image.fromarray(_grey(60 + 60 * i)).save(file, quality=95)
  if name == "nyu":
    base = root / "input" if (root / "input").is_dir() else root
    for part, chosen in (("train", paths[:2]), ("test", paths[2:])):
      lines = [f"/{(root / p).relative_to(base)} depth.png 518.8" for p in chosen]
      (root / f"{part}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("tree", TREES, ids=" ".join)
def test_every_frame_of_a_set_gets_its_stream_where_the_builder_looks(tree, tmp_path, capsys):
  name, domain, _ = tree
  paths, first = TREES[tree]
  _tree(tmp_path, paths, name)
  jobs = missing.find(name, tmp_path, [domain, domain], 1000.0, 1, allow_missing=True)
  assert len(jobs) == 3
  assert list(missing.write_all(jobs, PLAN)) == [True] * 3
  runs = [r for part in sets.get(name).finders(tmp_path, domain).values() for r in part()]
  found = [f for r in runs for f in r.frames if os.path.isfile(f.files["rgb"])]
  assert len(found) == 3 and all(
    spikes.read_npy(f.files["spike"]).shape == (32, *SIZE) for f in found
  )
  assert (tmp_path / first).is_file()
  assert ("left out" in capsys.readouterr().out) == (name != "nyu" and "weather" not in name)
  assert list(missing.write_all(jobs, PLAN)) == [False] * 3


def test_a_window_holds_its_frame_and_moves_towards_the_neighbours(tmp_path):
  paths, _ = TREES["kitti", "partial", "raw"]
  _tree(tmp_path, paths)
  jobs = missing.find("kitti", tmp_path, ["partial"], 1000.0, 1, allow_missing=True)
  jobs = {os.path.basename(job.output): job for job in jobs}
  last, middle = jobs["0000000002.npy"], jobs["0000000001.npy"]
  assert [os.path.basename(p) for p in middle.pictures] == [f"{i:010d}.png" for i in range(3)]
  assert last.pictures[1] == last.pictures[2]
  light = [float(spike_camera.light(_grey(60 + 60 * i))[0, 0]) for i in range(3)]
  for job in (middle, last):
    missing.write(job, PLAN)
  # 32 steps at 20 kHz are 1.6 frame periods of 1 ms: from 0.8 before the frame to 0.8 after it.
  t = (np.arange(32) + 0.5 - 16) / 20
  want = np.where(t < 0, light[1] + t * (light[1] - light[0]), light[1] + t * (light[2] - light[1]))
  got = np.load(middle.output)[:, 0, 0]
  np.testing.assert_array_equal(np.cumsum(got), np.floor(np.cumsum(want) / 2 + 1e-5))
  t = np.minimum(t, 0)
  want = light[2] + t * (light[2] - light[1])
  got = np.load(last.output)[:, 0, 0]
  np.testing.assert_array_equal(np.cumsum(got), np.floor(np.cumsum(want) / 2 + 1e-5))


@pytest.mark.parametrize(
  "stem, series, seconds",
  [
    ("0000000012", "", 1.2),
    ("rgb_00005", "rgb_", 0.5),
    ("frame", "frame", 0.0),
    (f"{CLOCK}_2018-07-31-11-08-02-250", f"{CLOCK}_2018-07-31", 11 * 3600 + 482.25),
    ("r-1294439279.297540-2351", "r-", 1294439279.29754),
  ],
)
def test_moments_of_names(stem, series, seconds):
  assert missing.moment(stem, 10.0) == (series, pytest.approx(seconds, abs=1e-6))


def test_neighbours_are_a_frame_period_apart_whatever_the_names_and_beyond_a_gap_is_rest(tmp_path):
  names = ["rgb_00001.jpg", "rgb_00002.jpg", "rgb_00004.jpg", "sync_depth_00003.png"]
  names += [f"{CLOCK}_2018-07-31-11-07-{s}.jpg" for s in ("50-000", "50-110", "50-400")]
  for name in names:
    (tmp_path / name).touch()
  places, pictures = missing._neighbours(str(tmp_path), 10.0)
  first = [missing.around(pictures, places[name], 1) for name in names]
  assert [[names.index(p) for p in row] for row in first] == [
    [0, 0, 1],
    [0, 1, 1],
    [2, 2, 2],
    [3, 3, 3],
    [4, 4, 5],
    [4, 5, 5],
    [6, 6, 6],
  ]
  assert missing.around({1: "a", 2: "b", 3: "c", 5: "e"}, 3, 2) == list("abccc")


def test_a_failure_in_the_middle_leaves_whole_files_and_the_next_run_finishes(
  tmp_path, monkeypatch
):
  paths, _ = TREES["kitti", "partial", "raw"]
  _tree(tmp_path, paths)
  jobs = missing.find("kitti", tmp_path, ["partial"], 1000.0, 1, allow_missing=True)
  header, calls = spikes.npy.header_bytes, []

  def failing(shape, dtype):  # after the file was opened
    calls.append(shape)
    if len(calls) == 2:
      raise KeyboardInterrupt
    return header(shape, dtype)

  monkeypatch.setattr(spikes.npy, "header_bytes", failing)
  with pytest.raises(KeyboardInterrupt):
    list(missing.write_all(jobs, PLAN))
  folder = pathlib.Path(jobs[0].output).parent
  assert [p.name for p in folder.iterdir()] == [os.path.basename(jobs[0].output)]
  for age, name in ((7200, ".0000000001.npy.00000000.part"), (0, ".0000000002.npy.00000000.part")):
    (folder / name).touch()  # as kills leave them, or another process that writes right now
    os.utime(folder / name, (time.time() - age,) * 2)
  assert list(missing.write_all(jobs, PLAN)) == [False, True, True]
  assert [p.name for p in sorted(folder.iterdir())] == [
    ".0000000002.npy.00000000.part",
    *(f"{i:010d}.npy" for i in range(3)),
  ]


def test_what_is_wrong_is_told(tmp_path):
  with pytest.raises(
    errors.UserError, match="respike has no frames that spike streams are made for"
  ):
    missing.find("respike", tmp_path, ["indoor"], 10.0, 1)
  with pytest.raises(errors.UserError, match="unknown data set 'kiti'.*kitti"):
    missing.find("kiti", tmp_path, [""], 10.0, 1)
  paths, _ = TREES["kitti", "partial", "raw"]
  _tree(tmp_path, paths)
  with pytest.raises(errors.UserError, match="unknown domain 'egen'.*eigen"):
    missing.find("kitti", tmp_path, ["egen"], 10.0, 1)
  with pytest.raises(errors.UserError, match="4 images or folders.*published at.*--allow_missing"):
    missing.find("kitti", tmp_path, ["partial"], 10.0, 1)
  listed = [f"{DRIVE}/0000000001"]
  (job,) = missing.find("kitti", tmp_path, ["listed"], 10.0, 1, listed)
  assert job.key.endswith(listed[0])
  image.write_png(tmp_path / paths[2], np.zeros((4, 4, 3), np.uint8))
  with pytest.raises(errors.BadFileError, match="0000000002.png: is 4x4 .expected 16x24"):
    missing.write(job, PLAN)
  pathlib.Path(job.output).parent.mkdir(parents=True)
  np.save(job.output, np.zeros((8, *SIZE), np.uint8))
  with pytest.raises(errors.UserError, match="--overwrite"):
    missing.write(job, PLAN)
