"""Prediction on files with a network that is a formula: which windows, which bytes, what memory."""

import os

import numpy as np
import pytest

from bicross_jax import errors, files, tasks
from bicross_jax.commands import inputs, predict
from bicross_jax.data.formats import image, spikes
from tests.commands import toy
from tests.commands.toy import STEPS, H, W

DEPTH = tasks.create("depth")


def _stream(steps):
  return np.random.default_rng(2).integers(0, 2, (steps, H, W), np.uint8)


def _windows(model, stream, starts):
  return predict.predict(model, DEPTH, inputs.read_windows(model, stream, starts))


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz"])
def test_windows_of_a_stream_are_its_slices(tmp_path, suffix):
  stream, path = _stream(57), tmp_path / f"a{suffix}"
  if suffix == ".npz":
    np.savez(path, np.moveaxis(stream, 0, -1))
  else:
    {".dat": spikes.write_dat, ".npy": spikes.write_npy}[suffix](path, stream)
  opened = spikes.open_stream(path, height=H, width=W)
  assert (opened.steps, opened.shape) == (57, (H, W))
  starts = inputs.window_starts(opened, STEPS, start=3, stride=12)
  made = {key: (given, said) for key, given, said in _windows(toy.spikes(), opened, starts)}
  assert list(made) == ["a_0000003", "a_0000015", "a_0000027", "a_0000039"]  # 51 would need 67
  for start, (given, said) in zip((3, 15, 27, 39), made.values(), strict=True):
    want = stream[start : start + STEPS]
    np.testing.assert_array_equal(spikes.unpack_time(given["spike"]), want)
    np.testing.assert_array_equal(said["depth"], 1 + want.sum(0, dtype=np.float32))
  alone = inputs.read(toy.spikes(), path, inputs.Window(15, H, W))
  np.testing.assert_array_equal(alone["spike"], made["a_0000015"][0]["spike"])


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
  starts = inputs.window_starts(stream, STEPS, 0, stride)
  seen = 0
  for _, _, said in _windows(toy.spikes(), stream, starts):
    seen += 1
    assert (said["depth"] == 1).all()
  window = STEPS * 64 * 80 // (8 if suffix == ".dat" else 1)
  assert seen == windows
  assert parts.count(window) == windows and max(parts) == window
  assert sum(n for n in parts if n != window) <= 4096 * (windows + 1)  # headers


def test_windows_that_cannot_be_are_refused(tmp_path):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(20))
  stream = spikes.open_stream(path, height=H, width=W)
  assert list(inputs.window_starts(stream, STEPS, 4, 7)) == [4]
  with pytest.raises(errors.BadFileError, match="20 steps .expected at least 21"):
    inputs.window_starts(stream, STEPS, 5, 7)
  for start, stride in ((-1, 1), (0, 0), (0, -3)):
    with pytest.raises(errors.UserError, match="windows cannot begin"):
      inputs.window_starts(stream, STEPS, start, stride)


def test_a_stream_that_is_cut_off_while_it_is_read(tmp_path):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(48))
  stream = spikes.open_stream(path, height=H, width=W)
  results = _windows(toy.spikes(), stream, range(0, 33, 16))
  next(results)
  path.write_bytes(path.read_bytes()[: -H * W // 8])
  next(results)
  with pytest.raises(errors.BadFileError, match="47 steps"):
    next(results)


def _touch(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).touch()


def test_inputs_are_found_in_the_order_of_their_numbers(tmp_path):
  _touch(tmp_path, "f/10.npy", "f/2.npy", "f/._2.npy", "f/1.png", "f/notes.doc", "alone.NPY")
  found = inputs.find([tmp_path / "f", tmp_path / "alone.NPY"])
  assert [(s.name, [p.name for p in s.paths]) for s in found] == [
    ("f", ["1.png", "2.npy", "10.npy"]),
    ("alone", ["alone.NPY"]),
  ]
  chosen = inputs.suitable(found, toy.spikes().inputs)
  assert [p.name for s in chosen for p in s.paths] == ["2.npy", "10.npy", "alone.NPY"]
  with pytest.raises(errors.BadFileError, match="alone.NPY.*reads rgb .expected .png"):
    inputs.suitable(found, toy.pictures().inputs)
  for name in ("notes.doc", "missing.npy", "empty"):
    (tmp_path / "empty").mkdir(exist_ok=True)
    with pytest.raises(errors.UserError, match=name):
      inputs.find([tmp_path / "f" / name if "notes" in name else tmp_path / name])


def test_names_may_not_come_twice(tmp_path):
  _touch(
    tmp_path, "f/a.png", "g/a.png", "h/a.png", "h/a.jpg", "i/a.png", "i/a_depth.png", "j/f.png"
  )
  for given in (["f", "g"], ["h"], ["i"], ["f", "f"], ["f", "j/f.png"]):
    found = inputs.find([tmp_path / name for name in given])
    with pytest.raises(errors.UserError, match="the same name"):
      inputs.suitable(found, toy.pictures().inputs)


def _output(output, *paths, videos=("f.mp4",)):
  predict.check_output(output, paths, inputs.find(paths), videos)


def test_no_result_is_written_over_an_input(tmp_path, monkeypatch):
  _touch(tmp_path, "f/a.png", "f/b.npy", "f/b_depth.npy", "other/x")
  monkeypatch.chdir(tmp_path)
  os.symlink("../f/b.npy", "other/b_0000000_depth.npy")
  os.symlink("f", "link")
  here = tmp_path / "f"
  for output, *given in (
    (here, here),
    (here, tmp_path / "link"),
    (tmp_path / "link", here),
    (here, here / "a.png"),
    (here, here / "b.npy", here / "b_depth.npy"),
    (tmp_path / "other", here / "b.npy"),
  ):
    with pytest.raises(errors.UserError, match="over"):
      _output(output, *given)
  _output(here, here / "b.npy")  # b.png, b_depth.npy (no input), ...
  _output(tmp_path / "new", here)
  assert not (tmp_path / "new").exists()


def test_places_that_cannot_be_written(tmp_path):
  _touch(tmp_path, "f/a.png", "file", "o/a.png/x", "p/f.mp4/x", "q/a_depth.npy/x")
  for output, words in (("file", "no folder"), ("file/o", "no folder"), ("o", "a.png is a folder")):
    with pytest.raises(errors.UserError, match=words):
      _output(tmp_path / output, tmp_path / "f")
  for output in ("p", "q"):
    with pytest.raises(errors.UserError, match="is a folder; a result"):
      _output(tmp_path / output, tmp_path / "f")
  _output(tmp_path / "p", tmp_path / "f", videos=())


def _frame(path, **changed):
  rng = np.random.default_rng(0)
  arrays = {
    "events": rng.integers(0, 3, (6, 8, 5, 4), np.uint8),
    "rgb": rng.integers(0, 255, (6, 8, 3), np.uint8),
    "intrinsics": np.eye(3, dtype=np.float32),
    "label": rng.integers(0, 3, (6, 8), np.uint8),
    "unrelated": np.zeros(2),
  }
  arrays |= changed
  np.savez(path, **{name: x for name, x in arrays.items() if x is not None})
  return arrays


def test_a_npz_of_fields_serves_any_network(tmp_path):
  arrays = _frame(tmp_path / "a.npz")
  given = inputs.read(toy.counter(), tmp_path / "a.npz")
  assert set(given) == {"events", "rgb", "intrinsics", "label"}
  for name, x in given.items():
    np.testing.assert_array_equal(x, arrays[name])
  rgb = inputs.read(toy.pictures(), tmp_path / "a.npz")
  np.testing.assert_array_equal(rgb["rgb"], arrays["rgb"])
  np.savez(tmp_path / "s.npz", spike=np.full((6, 8, STEPS // 8), 7, np.uint8))
  assert inputs.read(toy.spikes(), tmp_path / "s.npz")["spike"].max() == 7


@pytest.mark.parametrize(
  "changed, words",
  [
    ({"events": None}, "holds rgb, .*expected what the network reads: events, rgb"),
    ({"events": np.zeros((6, 8, 5, 4))}, "events is float64 .*uint8"),
    ({"events": np.zeros((6, 8, 5, 2), np.uint8)}, r"\(6, 8, 5, 4\): event counts"),
    ({"rgb": np.zeros((6, 9, 3), np.uint8)}, r"rgb is uint8 \(6, 9, 3\)"),
    ({"rgb": np.zeros((), np.uint8)}, "rgb is uint8"),
    ({"events": np.zeros((0, 8, 5, 4), np.uint8)}, r"events is uint8 \(0, 8, 5, 4\)"),
    ({"intrinsics": np.eye(4, dtype=np.float32)}, r"intrinsics .*\(3, 3\)"),
    ({"label": np.zeros((6, 8), np.int64)}, "label is int64"),
  ],
)
def test_fields_of_another_type_or_shape_are_named(changed, words, tmp_path):
  _frame(tmp_path / "a.npz", **changed)
  with pytest.raises(errors.BadFileError, match=words):
    inputs.read(toy.counter(), tmp_path / "a.npz")


def test_memory_is_kept_within_a_sequence_and_not_beyond(tmp_path):
  for name in "abc":
    _frame(tmp_path / f"{name}.npz")
  model, task = toy.counter(), tasks.create("classes")
  for _ in range(2):
    frames = ((name, inputs.read(model, tmp_path / f"{name}.npz")) for name in "abc")
    said = [int(maps["label"].min()) for _, _, maps in predict.predict(model, task, frames)]
    assert said == [1, 2, 3]


def test_a_network_that_predicts_something_else(tmp_path):
  image.write_png(tmp_path / "a.png", np.zeros((H, W, 3), np.uint8))
  model = toy.pictures()
  frames = [("a", inputs.read(model, tmp_path / "a.png"))]
  with pytest.raises(errors.UserError, match="predicts depth, uncertainty, no classes"):
    list(predict.predict(model, tasks.create("classes"), frames))
