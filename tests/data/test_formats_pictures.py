"""Depth maps, float maps, pictures and videos, against other readers and real files."""

import pathlib
import subprocess
import zlib

import cv2
import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps
import pytest

from bicross_jax import errors
from bicross_jax.data.formats import depth, image, pfm, video


def _colour(seed=0, shape=(20, 30, 3)):
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("divisor", [depth.KITTI, depth.VKITTI, depth.NYU])
def test_depth_round_trip(tmp_path, divisor):
  path = tmp_path / "new" / "d.png"
  metres = np.random.default_rng(0).uniform(0, 60, (7, 9)).astype(np.float32)
  depth.write_png16(path, metres, divisor)
  stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
  assert stored.dtype == np.uint16
  got = depth.read_png16(path, divisor)
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, stored / divisor, rtol=1e-6)
  np.testing.assert_allclose(got, metres, atol=0.51 / divisor)


def test_sky_is_unknown(tmp_path):
  cv2.imwrite(str(tmp_path / "d.png"), np.array([[0, 100, 65535]], np.uint16))
  got = depth.read_png16(tmp_path / "d.png", depth.VKITTI, unknown=depth.VKITTI_SKY)
  np.testing.assert_allclose(got, [[0, 1, 0]])
  np.testing.assert_allclose(depth.read_png16(tmp_path / "d.png", 100), [[0, 1, 655.35]])


@pytest.mark.parametrize("value", [-1.0, 256.0, np.nan, np.inf])
def test_depth_that_does_not_fit_is_refused(tmp_path, value):
  with pytest.raises(ValueError, match="0 .. 256.00 m"):
    depth.write_png16(tmp_path / "d.png", np.full((2, 2), value), 256)
  assert not list(tmp_path.iterdir())


def test_depth_of_eight_bits_or_in_colour_is_refused(tmp_path):
  for array in (_colour()[..., 0], _colour()):
    image.write_png(tmp_path / "d.png", array)
    with pytest.raises(errors.BadFileError, match="16-bit grey PNG"):
      depth.read_png16(tmp_path / "d.png", 256)
  Image.fromarray(_colour()[..., 0]).save(tmp_path / "d.jpg")
  with pytest.raises(errors.BadFileError, match="PNG"):
    depth.read_png16(tmp_path / "d.jpg", 256)


def test_real_depth(samples):
  for path, divisor, valid, low, high in (
    ("kitti_depth_gt/depth/0000000005.png", 256, 0.195, 5.33, 84.89),
    ("kitti_depth_gt/depth/0000000050.png", 256, 0.206, 5.20, 83.23),
    ("nyu_v2/depth/sync_depth_00000.png", 1000, 0.733, 1.390, 6.625),
    ("nyu_v2/depth/sync_depth_00050.png", 1000, 0.751, 0.887, 8.266),
  ):
    got = depth.read_png16(samples / path, divisor)
    known = got[got > 0]
    np.testing.assert_allclose((got > 0).mean(), valid, atol=5e-4)
    np.testing.assert_allclose([known.min(), known.max()], [low, high], atol=6e-3)


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pfm_round_trip_and_opencv(tmp_path, little, shape):
  array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  array[0, 1] = np.inf
  path = tmp_path / "a.pfm"
  pfm.write_pfm(path, array, little=little)
  got = pfm.read_pfm(path)
  assert got.dtype == np.float32 and got.dtype.isnative
  np.testing.assert_array_equal(got, array)
  other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
  np.testing.assert_array_equal(other if len(shape) == 2 else other[..., ::-1], array)


def test_pfm_with_other_line_ends(tmp_path):
  data = np.arange(6, dtype="<f4").tobytes()
  for head in (b"Pf\r\n3 2\r\n-1\r\n", b"Pf 3 2 -0.0039 ", b"Pf\n3\n2\n-1e0\n"):
    (tmp_path / "a.pfm").write_bytes(head + data)
    np.testing.assert_array_equal(pfm.read_pfm(tmp_path / "a.pfm"), [[3, 4, 5], [0, 1, 2]])


@pytest.mark.parametrize(
  "data,message",
  [
    (b"P6\n3 2\n-1\n", "does not begin"),
    (b"Pf\n3 2\n0\n", "scale 0"),
    (b"Pf\n0 2\n-1\n", "2x0"),
    (b"Pf\n3 2\n1.2.3\n", "no number"),
    (b"Pf\n999999999 999999999\n-1\n" + bytes(24), "has 50 bytes"),
    (b"Pf\n3 2\n-1\n" + bytes(23), "has 33 bytes .expected 34"),
    (b"Pf\n3 2\n-1\n" + bytes(25), "has 35 bytes .expected 34"),
  ],
)
def test_bad_pfm_is_refused(tmp_path, data, message):
  (tmp_path / "a.pfm").write_bytes(data)
  with pytest.raises(errors.BadFileError, match=message):
    pfm.read_pfm(tmp_path / "a.pfm")


def test_real_pfm(samples):
  got = pfm.read_pfm(samples / "middlebury_2014/trainingQ/Motorcycle/disp0GT.pfm")
  known = got[np.isfinite(got)]
  assert got.shape == (497, 741)
  np.testing.assert_allclose(known.size / got.size, 0.9791, atol=5e-5)
  np.testing.assert_allclose([known.min(), known.max()], [9.178, 62.877], atol=6e-4)


def test_rgb_is_opencvs(tmp_path, samples):
  colour = _colour()
  image.write_png(tmp_path / "a.png", colour)
  np.testing.assert_array_equal(image.read_rgb(tmp_path / "a.png"), colour)
  assert image.size(tmp_path / "a.png") == (20, 30)
  path = samples / "kitti_stereo_2015/training/image_2/000046_10.png"
  got = image.read_rgb(path)
  assert got.shape == (375, 1242, 3) and got.dtype == np.uint8 and got.flags.writeable
  np.testing.assert_array_equal(got, cv2.imread(str(path))[..., ::-1])
  path = samples / "nyu_v2/rgb/rgb_00000.jpg"
  got = image.read_rgb(path).astype(int)
  assert got.shape == (480, 640, 3)
  assert np.abs(got - cv2.imread(str(path))[..., ::-1]).mean() < 1  # decoders of JPEG may differ


def test_grey_and_transparent_pictures_become_rgb(tmp_path):
  grey, alpha = _colour()[..., 0], _colour(1, (20, 30, 4))
  for array, want in ((grey, np.stack([grey] * 3, -1)), (alpha, alpha[..., :3])):
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(image.read_rgb(tmp_path / "a.png"), want)
  image.write_png(tmp_path / "a.png", grey)
  np.testing.assert_array_equal(image.read_grey(tmp_path / "a.png"), grey)


def test_picture_of_another_kind_is_refused(tmp_path):
  image.write_png(tmp_path / "a.png", np.zeros((3, 4), np.uint16))
  with pytest.raises(errors.BadFileError, match="8-bit"):
    image.read_rgb(tmp_path / "a.png")
  Image.fromarray(_colour()).save(tmp_path / "a.bmp")
  for read in (image.read_rgb, image.size):
    with pytest.raises(errors.BadFileError, match="PNG or JPEG"):
      read(tmp_path / "a.bmp")
  with pytest.raises(ValueError, match="no PNG"):
    image.write_png(tmp_path / "b.png", np.zeros((3, 4)))


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [5000, 12_000, 60_000])
def test_picture_that_declares_too_much_is_refused(tmp_path, side):
  image.write_png(tmp_path / "a.png", _colour())
  data = bytearray((tmp_path / "a.png").read_bytes())
  data[16:24] = side.to_bytes(4, "big") * 2
  data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
  (tmp_path / "a.png").write_bytes(data)
  with pytest.raises(errors.BadFileError, match="declares|exceeds limit"):
    image.read_rgb(tmp_path / "a.png")


def test_folder_of_pictures_is_read_in_order(tmp_path):
  frames = [_colour(i) for i in range(3)]
  for name, frame in zip(("b", "a", "c"), frames, strict=True):
    image.write_png(tmp_path / f"{name}.png", frame)
  (tmp_path / "notes.txt").write_text("no picture")
  found = video.open_frames(tmp_path)
  assert (found.names, found.fps, found.times) == (["a", "b", "c"], None, None)
  assert found.shape == (20, 30)
  np.testing.assert_array_equal(list(found.read()), [frames[1], frames[0], frames[2]])
  image.write_png(tmp_path / "c.png", _colour(0, (20, 31, 3)))
  with pytest.raises(errors.BadFileError, match=r"c\.png: a frame is 20x31 .expected 20x30"):
    list(found.read())
  (tmp_path / "a.jpg").write_bytes(b"")
  with pytest.raises(errors.BadFileError, match="two pictures"):
    video.open_frames(tmp_path)


def test_frames_without_leading_zeros_come_in_the_order_of_their_numbers(tmp_path):
  for i in range(1, 13):
    image.write_png(tmp_path / f"{i}.PNG", np.full((4, 4, 3), i, np.uint8))
    (tmp_path / f"._{i}.PNG").write_bytes(b"\0\5\x16\7 AppleDouble")
  found = video.open_frames(tmp_path)
  assert found.names == [str(i) for i in range(1, 13)]
  assert [frame[0, 0, 0] for frame in found.read()] == list(range(1, 13))


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_read_upright(tmp_path, orientation, kind):
  path = tmp_path / f"a.{kind}"
  exif = Image.Exif()
  exif[0x0112] = orientation
  array = np.zeros((32, 64, 3), np.uint8)
  array[:16, :48], array[16:, :16] = 250, 90
  Image.fromarray(array).save(
    path, exif=exif.tobytes(), **({"quality": 95} if kind == "jpg" else {})
  )
  read = image.read_rgb(path)
  with Image.open(path) as opened:
    np.testing.assert_array_equal(read, ImageOps.exif_transpose(opened))
  np.testing.assert_allclose(read[..., ::-1], cv2.imread(str(path)), atol=6)  # two JPEG decoders
  assert image.size(path) == read.shape[:2] == ((64, 32) if orientation > 4 else (32, 64))
  assert video.open_frames(tmp_path).shape == read.shape[:2]


def test_depth_and_grey_pictures_are_read_upright(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  values = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
  Image.fromarray(values).save(tmp_path / "d.png", exif=exif)
  got = depth.read_png16(tmp_path / "d.png", 256)
  np.testing.assert_array_equal(got * 256, np.rot90(values, -1))
  Image.fromarray((values // 256).astype(np.uint8)).save(tmp_path / "g.png", exif=exif)
  np.testing.assert_array_equal(image.read_grey(tmp_path / "g.png"), np.rot90(values // 256, -1))


def test_an_orientation_that_cannot_be_read_is_none(tmp_path):
  for name, block in (("a", b"Exif\0\0II*\0\xff\xff\xff\xff"), ("b", b"Exif\0\0no"), ("c", b"x")):
    Image.fromarray(_colour()).save(tmp_path / f"{name}.jpg", exif=block)
    assert image.size(tmp_path / f"{name}.jpg") == (20, 30)
    assert image.read_rgb(tmp_path / f"{name}.jpg").shape == (20, 30, 3)
  exif = Image.Exif()
  exif[0x0112] = 77
  Image.fromarray(_colour()).save(tmp_path / "d.jpg", exif=exif)
  assert image.read_rgb(tmp_path / "d.jpg").shape == (20, 30, 3)


def _encode(path, *options, frames=20):
  """A video of grey frames that grow brighter; `options` go to ffmpeg before the output."""
  grey = np.broadcast_to(
    (40 + 10 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, 32, 48, 3)
  )
  command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo"]
  command += ["-pix_fmt", "rgb24", "-s", "48x32", "-r", "25", "-i", "-", *options, str(path)]
  subprocess.run(command, input=grey.tobytes(), check=True)


H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
UNEVEN = ("-vf", r"settb=1/1000,setpts='if(lt(N,10),N*33,297+200*(N-9))'", "-fps_mode", "vfr")


@pytest.mark.parametrize(
  "suffix, codec", [("mp4", (*H264, "-bf", "2")), ("mkv", H264), ("webm", ("-c:v", "libvpx"))]
)
def test_frames_of_uneven_rate_have_their_own_times(tmp_path, suffix, codec):
  path = tmp_path / f"v.{suffix}"
  _encode(path, *UNEVEN, "-enc_time_base", "1:1000", *codec)
  found = video.open_frames(path)
  want = np.array([0.033 * i if i < 10 else 0.297 + 0.2 * (i - 9) for i in range(20)])
  assert found.fps is None and len(found.names) == 20
  np.testing.assert_allclose(found.times, want, atol=5e-4)
  levels = np.array([frame.mean() for frame in found.read()])
  np.testing.assert_allclose(levels, 40 + 10 * np.arange(20), atol=4)  # in the order of the times


@pytest.mark.parametrize("rate", ["30", "30000/1001"])
@pytest.mark.parametrize(
  "suffix, codec", [("mkv", H264), ("webm", ("-c:v", "libvpx")), ("avi", ())]
)
def test_stamps_in_milliseconds_are_an_even_rate(tmp_path, suffix, codec, rate):
  path = tmp_path / f"v.{suffix}"
  _encode(path, "-vf", f"setpts=N/({rate})/TB", "-r", rate, *codec, frames=12)
  found = video.open_frames(path)
  numbers = [float(n) for n in rate.split("/")]
  assert found.fps == pytest.approx(
    numbers[0] / numbers[-1] if numbers[1:] else numbers[0], rel=1e-4
  )
  np.testing.assert_allclose(found.times, np.arange(12) / found.fps, rtol=1e-12)


def test_video_without_time_stamps_does_not_say_its_rate(tmp_path):
  _encode(tmp_path / "v.h264", *H264, frames=6)
  found = video.open_frames(tmp_path / "v.h264")
  assert (found.fps, found.times, len(found.names)) == (None, None, 6)


@pytest.mark.parametrize(
  "name", ["12:30:05.mp4", "file:a.mp4", "-a.mp4", "a%03d #?.mp4", "ü.mp4", "\udcff.mp4"]
)
def test_video_is_read_whatever_it_is_called(tmp_path, monkeypatch, name):
  _encode(tmp_path / "v.mp4", *H264, frames=3)
  (tmp_path / "v.mp4").rename(tmp_path / name)
  monkeypatch.chdir(tmp_path)
  for path in (name, pathlib.Path(name), f"./{name}", tmp_path / name):
    assert len(list(video.open_frames(path).read())) == 3


def test_video_is_read_frame_by_frame(tmp_path):
  frames = [np.full((32, 48, 3), 40 * i, np.uint8) for i in range(6)]
  path = tmp_path / "v.mp4"
  iio.imwrite(path, frames, fps=25, macro_block_size=None)
  found = video.open_frames(path)
  assert found.names == [f"{i:06d}" for i in range(6)]
  assert (found.fps, found.shape) == (25.0, (32, 48))
  np.testing.assert_array_equal(found.times, np.arange(6) / 25)
  for _ in range(2):  # every pass begins anew
    got = np.stack(list(found.read()))
    np.testing.assert_allclose(got.mean((1, 2, 3)), 40 * np.arange(6), atol=3)


def test_what_is_no_video_is_refused(tmp_path):
  (tmp_path / "v.mp4").write_bytes(b"not a video" * 100)
  for path, message in (
    (tmp_path / "v.mp4", "cannot be decoded"),
    (tmp_path / "no", "no such"),
    (tmp_path, "holds no pictures"),
  ):
    with pytest.raises(errors.BadFileError, match=message):
      video.open_frames(path)
