"""Prediction on files with a network that is a formula: which windows, which bytes, what memory."""

import types

import ml_collections
import numpy as np
import pytest

from bicross_jax import errors, files
from bicross_jax.commands import predict
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes

H, W, STEPS = 24, 40, 16


def _model(modality="spike", predict=None):
  """A stand-in for a trained network; its depth is 1 m more than the spikes of the whole window."""

  def count(batch):
    spike = np.asarray(batch["spike"])
    assert spike.dtype == np.uint8 and spike.ndim == 4 and spike.shape[-1] == STEPS // 8
    return {"depth": 1 + np.bitwise_count(spike).sum(-1, dtype=np.float32)}

  config = {"input": {"modality": modality}, "data": {"steps": STEPS}, "eval": {"min_depth": 1e-3}}
  return types.SimpleNamespace(config=ml_collections.ConfigDict(config), predict=predict or count)


def _stream(steps):
  return np.random.default_rng(2).integers(0, 2, (steps, H, W), np.uint8)


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz"])
def test_windows_of_a_stream_are_its_slices(tmp_path, suffix):
  stream, path = _stream(57), tmp_path / f"a{suffix}"
  if suffix == ".npz":
    np.savez(path, np.moveaxis(stream, 0, -1))
  else:
    {".dat": spikes.write_dat, ".npy": spikes.write_npy}[suffix](path, stream)
  opened = spikes.open_stream(path, height=H, width=W)
  assert (opened.steps, opened.shape) == (57, (H, W))
  starts = predict.window_starts(opened, STEPS, start=3, stride=12)
  made = dict(predict.predict_windows(_model(), opened, starts))
  assert list(made) == ["a_0000003", "a_0000015", "a_0000027", "a_0000039"]  # 51 would need 67
  for start, result in zip((3, 15, 27, 39), made.values(), strict=True):
    want = stream[start : start + STEPS]
    np.testing.assert_array_equal(spikes.unpack_time(result["spike"]), want)
    np.testing.assert_array_equal(result["prediction"], 1 + want.sum(0, dtype=np.float32))
  alone = predict.predict_file(_model(), path, start=15, height=H, width=W)
  np.testing.assert_array_equal(alone["prediction"], made["a_0000015"]["prediction"])


@pytest.mark.parametrize("suffix", [".dat", ".npy"])
def test_a_long_stream_is_read_piece_by_piece(tmp_path, suffix, monkeypatch):
  """4 GB of stream, of which 200 windows are looked at: that many bytes are read, and no more."""
  path, windows, stride = tmp_path / f"long{suffix}", 200, 4000
  length = stride * (windows - 1) + STEPS
  with open(path, "wb") as file:  # holes, so nothing is on the disk
    if suffix == ".npy":
      np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (length, 64, 80)}
      )
      file.truncate(file.tell() + length * 64 * 80)
    else:
      file.truncate(length * 64 * 80 // 8)
  read, held, parts = files.read, spikes._binary, []

  def counting(path, start=0, count=None):
    data = read(path, start, count)
    parts.append(len(data))
    return data

  def counting_map(path, array):
    parts.append(array.nbytes)
    return held(path, array)

  monkeypatch.setattr(files, "read", counting)
  monkeypatch.setattr(spikes, "_binary", counting_map)
  stream = spikes.open_stream(path, height=64, width=80)
  assert stream.steps == length
  starts = predict.window_starts(stream, STEPS, 0, stride)
  seen = 0
  for _, result in predict.predict_windows(_model(), stream, starts):
    seen += 1
    assert (result["prediction"] == 1).all()
  window = STEPS * 64 * 80 // (8 if suffix == ".dat" else 1)
  assert seen == windows
  assert parts.count(window) == windows and max(parts) == window
  assert sum(n for n in parts if n != window) <= 4096 * (windows + 1)  # headers


def test_what_cannot_be_is_refused(tmp_path):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(20))
  stream = spikes.open_stream(path, height=H, width=W)
  assert list(predict.window_starts(stream, STEPS, 4, 7)) == [4]
  with pytest.raises(errors.BadFileError, match="20 steps .expected at least 21"):
    predict.window_starts(stream, STEPS, 5, 7)
  for start, stride in ((-1, 1), (0, 0), (0, -3)):
    with pytest.raises(errors.UserError, match="windows cannot begin"):
      predict.window_starts(stream, STEPS, start, stride)
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(errors.BadFileError, match="whole number of steps"):
    spikes.open_stream(path, height=H, width=W)
  with pytest.raises(errors.BadFileError, match="unknown kind"):
    spikes.open_stream(tmp_path / "a.raw")


def test_a_stream_that_is_cut_off_while_it_is_read(tmp_path):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(48))
  stream = spikes.open_stream(path, height=H, width=W)
  results = predict.predict_windows(_model(), stream, range(0, 33, 16))
  next(results)
  path.write_bytes(path.read_bytes()[: -H * W // 8])
  next(results)
  with pytest.raises(errors.BadFileError, match="47 steps"):
    next(results)


def test_pictures_keep_their_frame_and_depth_its_bounds(tmp_path):
  image.write_png(tmp_path / "a.png", np.zeros((31, 47, 3), np.uint8))
  far = np.full((1, 16, 32), 1e8, np.float32)
  model = _model("rgb", lambda batch: {"depth": far, "uncertainty": far})
  ((name, result),) = predict.predict_frames(model, [tmp_path / "a.png"])
  assert name == "a" and result["prediction"].shape == result["uncertainty"].shape == (31, 47)
  predict.write(tmp_path, "far", result)  # as linear read-outs may say; the PNG holds 256 m
  assert np.load(tmp_path / "far_depth.npy").min() > 9e7
  np.testing.assert_allclose(
    depth_files.read_png16(tmp_path / "far_depth.png", 256.0), predict.FARTHEST
  )
  model.predict = lambda batch: {"depth": -far}
  assert predict.predict_file(model, tmp_path / "a.png")["prediction"].max() == np.float32(1e-3)


def test_inputs_are_found_by_folder_and_names_may_not_repeat(tmp_path):
  for name in ("f/b.npy", "f/a.dat", "f/notes.txt", "g/c.npy", "alone.npy"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  found = predict.find_inputs([tmp_path / "f", tmp_path / "alone.npy"], "spike")
  assert [(s.name, [p.name for p in s.paths]) for s in found] == [
    ("f", ["a.dat", "b.npy"]),
    ("alone", ["alone.npy"]),
  ]
  (tmp_path / "g" / "a.npy").touch()
  with pytest.raises(errors.UserError, match="same name"):
    predict.find_inputs([tmp_path / "f", tmp_path / "g"], "spike")
  with pytest.raises(errors.UserError, match="no rgb input"):
    predict.find_inputs([tmp_path / "f"], "rgb")
