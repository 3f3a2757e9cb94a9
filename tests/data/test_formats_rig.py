"""Calibration files of rigs, against real files, OpenCV's own, and what each must refuse."""

import cv2
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import depth, image, rig
from bicross_jax.ops import warp

SIZE = (480, 640)
CAMERA = np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1.0]])
SHIFT = np.array([[-0.12], [0.001], [0.002]])  # of points from the left camera to the right one
TURN = cv2.Rodrigues(np.array([0.01, 0.02, -0.01]))[0]
LENS = np.array([[0.1, -0.02, 0, 0, 0]])


def test_rigs_of_real_files(samples):
  raw = rig.read_rig(samples / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt")
  np.testing.assert_allclose(
    raw.intrinsics, [[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]]
  )
  assert raw.size == (375, 1242) and raw.doffs == 0
  assert raw.baseline == pytest.approx(0.5327, abs=5e-5)
  odometry = rig.read_rig(samples / "kitti_odometry" / "sequences" / "04" / "calib.txt")
  assert odometry.size is None and odometry.baseline == pytest.approx(0.5379, abs=5e-5)
  assert odometry.intrinsics[0, 0] == 707.0912
  motorcycle = rig.read_rig(samples / "middlebury_2014" / "trainingQ" / "Motorcycle" / "calib.txt")
  assert motorcycle.size == (497, 741) and motorcycle.baseline == pytest.approx(0.193001)
  assert motorcycle.doffs == pytest.approx(32.778)
  assert motorcycle.of("right")[0][0, 2] == 326.96 and motorcycle.of("right")[1] < 0
  with pytest.raises(errors.BadFileError, match="1.0892 m by P_rect_103 and 0.5446 m by T_103"):
    rig.read_rig(samples / "drivingstereo_calib" / "2018-07-11-14-48-52.txt")


def test_sign_scale_and_baseline_are_those_of_a_real_pair(samples):
  """The ground-truth disparity of KITTI 2015 as metres by the rig, and back for the warp."""
  found = rig.read_rig(samples / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt")
  matrix, baseline = found.of("left")
  folder = samples / "kitti_stereo_2015" / "training"
  left, right = (image.read_rgb(folder / f"image_{n}" / "000046_10.png") for n in (2, 3))
  disparity = depth.read_png16(folder / "disp_occ_0" / "000046_10.png", 256)
  known = disparity > 0
  metres = matrix[0, 0] * baseline / disparity[known]
  np.testing.assert_allclose([metres.min(), metres.max()], [5.85, 78.91], atol=5e-3)

  def difference(disparity):
    """With black beyond the edge, as the published numbers have it."""
    y, x = np.mgrid[: disparity.shape[0], : disparity.shape[1]].astype(np.float32)
    places = np.stack([x - disparity, y], axis=-1)[None]
    warped = warp.sample(right[None].astype(np.float32), places, padding="zeros")[0]
    return np.abs(left - np.asarray(warped))[known].mean()

  assert difference(np.zeros_like(disparity)) == pytest.approx(41.7, abs=0.05)
  assert difference(disparity) == pytest.approx(12.5, abs=0.05)
  assert difference(-disparity) == pytest.approx(47.1, abs=0.05)


def _write_yaml(path, **named):
  file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
  for name, value in named.items():
    if isinstance(value, tuple):  # cv::Size
      file.startWriteStruct(name, cv2.FileNode_SEQ | cv2.FileNode_FLOW)
      for number in value:
        file.write("", number)
      file.endWriteStruct()
    else:
      file.write(name, value)
  file.release()
  return path


@pytest.mark.parametrize("flags", [cv2.CALIB_ZERO_DISPARITY, 0])
def test_what_opencv_rectifies_is_read_from_its_projections_and_from_q(tmp_path, flags):
  """Both forms give the depth of points that OpenCV projects into the rectified images."""
  other = CAMERA + np.array([[0, 0, 9], [0, 0, 3], [0, 0, 0]])
  lenses = (CAMERA, LENS, other, LENS)
  r1, r2, p1, p2, q = cv2.stereoRectify(*lenses, SIZE[::-1], TURN, SHIFT, flags=flags)[:5]
  size = dict(image_width=SIZE[1], image_height=SIZE[0])
  measured = dict(M1=CAMERA, D1=LENS, M2=other, D2=LENS, R=TURN, T=SHIFT)
  written = _write_yaml(tmp_path / "a.yml", **measured, P1=p1, P2=p2, **size)
  found = rig.read_rig(written)
  by_q = rig.read_rig(_write_yaml(tmp_path / "b.yaml", Q=q, **size))
  for one, same in zip(found, by_q, strict=True):
    np.testing.assert_allclose(one, same, rtol=1e-6, atol=1e-6)
  assert found.size == SIZE and (abs(found.doffs) > 5) == (flags == 0)
  assert found.baseline == pytest.approx(np.linalg.norm(SHIFT))
  points = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 9], (20, 3))
  seen = [
    cv2.undistortPoints(cv2.projectPoints(points, *place, m, LENS)[0], m, LENS, R=r, P=p)[:, 0]
    for place, m, r, p in (
      ((np.zeros(3), np.zeros(3)), CAMERA, r1, p1),
      ((cv2.Rodrigues(TURN)[0], SHIFT), other, r2, p2),
    )
  ]
  np.testing.assert_allclose(seen[0][:, 1], seen[1][:, 1], atol=1e-3)  # rectified
  disparity = seen[0][:, 0] - seen[1][:, 0]
  metres = found.intrinsics[0, 0] * found.baseline / (disparity + found.doffs)
  np.testing.assert_allclose(metres, (points @ r1.T)[:, 2], rtol=1e-4)


def test_cameras_that_need_no_rectifying_do_without_projections(tmp_path):
  named = dict(M1=CAMERA, M2=CAMERA, D1=0 * LENS, R=np.eye(3), T=np.array([[-0.12], [0.0], [0.0]]))
  found = rig.read_rig(_write_yaml(tmp_path / "a.yml", **named, imageSize=(640, 480)))
  assert found.baseline == pytest.approx(0.12) and found.size == SIZE
  for change, words in (
    (dict(R=TURN), "R turns the cameras by 1.40 degrees"),
    (dict(D1=LENS), "D1 says that lenses distort"),
    (dict(M2=CAMERA * [[1.1], [1.1], [1]]), "fx is 500 and 550"),
    (dict(T=-named["T"]), "0.12 m to the left"),
    (dict(T=np.array([[-0.12], [0.1], [0.0]])), "stands 0.1 m above"),
  ):
    path = _write_yaml(tmp_path / "b.yml", **{**named, **change})
    with pytest.raises(errors.BadFileError, match=words):
      rig.read_rig(path)


def test_three_lines(tmp_path):
  path = tmp_path / "calibration.txt"
  path.write_text("# my rig\n700, 701, 320.5, 240.5\n\n0.12\n640 480\n")
  found = rig.read_rig(path)
  np.testing.assert_array_equal(found.intrinsics, [[700, 0, 320.5], [0, 701, 240.5], [0, 0, 1]])
  assert found[1:] == (0.12, SIZE, 0)
  np.testing.assert_array_equal(found.of("left")[0], found.of("right")[0])
  assert found.of("left")[1] == 0.12 and found.of("right")[1] == -0.12


RAW = {
  "S_rect_02": "64 48",
  "P_rect_02": "50 0 32 3 0 50 24 0 0 0 1 0",
  "S_rect_03": "64 48",
  "P_rect_03": "50 0 32 -22 0 50 24 0 0 0 1 0",
}


@pytest.mark.parametrize(
  "change, words",
  [
    ({"P_rect_03": None}, "P_rect_03 is missing"),
    ({"P_rect_02": None, "P_rect_03": None}, "P_rect_02 is missing"),
    ({"P_rect_03": "50 0 32"}, "P_rect_03 has 3 numbers"),
    ({"S_rect_02": None}, "S_rect_02 is missing"),
    ({"S_rect_03": "64 47"}, "S_rect_02 and S_rect_03 differ"),
    ({"S_rect_02": "64 nan"}, "not finite"),
    ({"P_rect_03": "55 0 32 -22 0 55 24 0 0 0 1 0"}, "not rectified: fx is 50 and 55"),
    ({"P_rect_03": "50 0 32 -22 0 50 26 0 0 0 1 0"}, "not rectified: .* rows 24 and 26"),
    ({"P_rect_03": "50 0 32 -22 0 50 24 9 0 0 1 0"}, "not rectified: .* 0.18 m above"),
    ({"P_rect_03": "50 0 32 28 0 50 24 0 0 0 1 0"}, "0.5 m to the left"),
    ({"P_rect_03": "50 0 32 3 0 50 24 0 0 0 1 0"}, "to the left"),
    ({"P_rect_02": "0 0 32 3 0 50 24 0 0 0 1 0"}, "without focal length"),
    ({"P_rect_03": "50 0 32 -25000 0 50 24 0 0 0 1 0"}, "millimetres"),
  ],
)
def test_what_kitti_files_must_not_say(tmp_path, change, words):
  path = tmp_path / "calib_cam_to_cam.txt"

  def write(lines):
    path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items() if v is not None))

  write(RAW)
  assert rig.read_rig(path)[1:] == (0.5, (48, 64), 0)
  write({**RAW, **change})
  with pytest.raises(errors.BadFileError, match=words) as caught:
    rig.read_rig(path)
  assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "name, text, words",
  [
    ("a.txt", "", "no calibration"),
    ("a.txt", "1 2 3 4\n0.1\n", "no calibration of a stereo rig .*three lines"),
    ("a.txt", "1 2 3\n0.1\n64 48\n", "line 1 .* is '1 2 3' .expected 4"),
    ("a.txt", "1 2 3 4\nwide\n64 48\n", "line 2"),
    ("a.txt", "1 2 3 4\n0.1\n64.5 48\n", "48x64.5"),
    ("a.txt", "1 2 3 4\n120\n64 48\n", "millimetres"),
    ("a.txt", "cam0=[9 0 4; 0 9 3; 0 0 1]\nbaseline=9\n", "cam1 is missing"),
    ("a.txt", "cam0=[9 0 4; 0 9]\n", "cam0 is"),
    ("a.yaml", "P1: 3\n", "no P1.data|P1.data"),
    ("a.yaml", "a: 3\n", "neither P1 and P2 nor Q"),
    ("a.yaml", "Q: {data: [1,0,0,0, 0,1,0,0, 0,0,0,9, 0,0,0,0]}\n", "no baseline"),
    ("a.yaml", "%YAML:1.0\n---\nP1: !!opencv-matrix [\n", "not YAML"),
    ("a.yaml", "a: !!python/object:os.system {}\n", "not YAML"),
  ],
)
def test_files_that_are_no_calibration(tmp_path, name, text, words):
  (tmp_path / name).write_text(text)
  with pytest.raises(errors.BadFileError, match=words):
    rig.read_rig(tmp_path / name)
  with pytest.raises(errors.BadFileError, match="no such file"):
    rig.read_rig(tmp_path / "no")
