"""Disparities in files: judged as a network is, written, drawn, and refused in one line."""

import json
import pathlib
import tracemalloc

import numpy as np
import pytest

from bicross_jax import cli, errors, inference
from bicross_jax.commands import disparities, evaluate, visualize
from bicross_jax.data.formats import image
from bicross_jax.data.layouts import kitti_drives
from tests.commands import fakes


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A run's folder whose checkpoint is the made-up network."""
  monkeypatch.setattr(inference, "load", lambda *unused: fakes.model())
  return fakes.run_folder(tmp_path)


@pytest.fixture
def config(monkeypatch):
  """The config of the made-up network, as a file gives it."""
  monkeypatch.setattr(evaluate.grammar, "load", lambda name: fakes.config())
  monkeypatch.setattr(evaluate.grammar, "trusted", lambda config: ())
  return ["--config", "made-up"]


def _summary(folder):
  return json.loads((folder / "eval-world-foggy-test" / "summary.json").read_text())


def test_what_is_saved_is_judged_as_the_network_was(run, config, monkeypatch, capsys):
  fakes.pipeline(monkeypatch)
  file = run / "maps" / "d.npy"
  argv = ["--checkpoint", str(run), "--save_disparities", str(file), "--factor", "2"]
  assert evaluate.main(argv) == 0
  shown = capsys.readouterr().out
  assert f"written: {file}, " in shown
  maps = np.load(file)
  assert maps.shape == (5, *fakes.SIZE) and maps.dtype == np.float32
  np.testing.assert_allclose(maps, 2 / 22, rtol=1e-6)
  assert evaluate.main(["--disparities", str(file), *config, "--factor", "2"]) == 0
  again = capsys.readouterr().out
  assert f"5 images, {file}" in again.splitlines()[0]
  assert again.splitlines()[1:2] == shown.splitlines()[1:2]
  assert again.splitlines()[3:5] == shown.splitlines()[3:5]  # the baselines
  network, saved = _summary(run), _summary(run / "maps")
  assert saved["abs_rel"] == pytest.approx(network["abs_rel"], rel=1e-5)
  assert saved["disparities"] == str(file) and saved["factor"] == 2
  assert saved["baselines"].keys() == network["baselines"].keys()


def test_the_order_is_that_of_the_examples(tmp_path, config, monkeypatch):
  fakes.pipeline(monkeypatch)
  scale = np.arange(1, 6, dtype=np.float64)
  np.save(tmp_path / "d.npy", np.full((5, 4, 6), 5.4 / 20) / scale[:, None, None])
  assert evaluate.main(["--disparities", str(tmp_path / "d.npy"), *config, "--no_baselines"]) == 0
  folder = tmp_path / "eval-world-foggy-test"
  rows = json.loads((folder / "images.json").read_text())
  assert [row["key"] for row in rows] == [f"test{i}" for i in range(5)]
  want = np.minimum(20 * scale, 80) / 20 - 1
  np.testing.assert_allclose([row["abs_rel"] for row in rows], want, rtol=1e-5, atol=1e-6)
  assert _summary(tmp_path)["baselines_left_out"] == "--no_baselines"


def test_a_checkpoint_is_tested_without_baselines(run, monkeypatch, capsys):
  fakes.pipeline(monkeypatch)
  assert evaluate.main(["--checkpoint", str(run), "--no_baselines"]) == 0
  shown = capsys.readouterr().out
  assert "without the baselines: --no_baselines" in shown and "best constant" not in shown


def test_depth_that_is_none_is_not_saved(run, monkeypatch):
  model = fakes.model()
  step = lambda batch, carry=(): ({"depth": 0.0 * batch["rgb"][..., 0].astype(np.float32)}, carry)
  model.step = step
  monkeypatch.setattr(inference, "load", lambda *unused: model)
  fakes.pipeline(monkeypatch)
  with pytest.raises(
    errors.UserError, match="depth 0 of the network is no map of positive numbers"
  ):
    evaluate.main(["--checkpoint", str(run), "--save_disparities", str(run / "d.npy")])
  assert list(run.glob("*")) == [run / "checkpoints"]


def _changed(**change):
  x = np.full((5, 8, 12), 0.5, np.float32)
  if "at" in change:
    x[change["at"]] = change["value"]
  return x


@pytest.mark.parametrize(
  "array, words",
  [
    (_changed()[0], "holds float32 (8, 12) (expected floating-point numbers of shape (maps,"),
    (_changed()[:, None], "holds float32 (5, 1, 8, 12)"),
    (_changed().astype(np.int32), "holds int32 (5, 8, 12)"),
    (_changed()[:0], "holds float32 (0, 8, 12)"),
    (_changed()[:4], "has 4 maps (expected 5, one for each example of part test)"),
    (np.swapaxes(_changed(), 1, 2), "has maps of 12x8 (expected maps of the shape of the examples, 8x12"),
    (_changed(at=(3, 1, 2), value=np.nan), "map 3 has nan at row 1, column 2 (expected positive"),
    (_changed(at=(0, 7, 0), value=0), "map 0 has 0.0 at row 7, column 0"),
    (_changed(at=(4, 0, 0), value=np.inf), "map 4 has inf at row 0, column 0"),
    (b"no array", "does not begin as a .npy file"),
  ],
)  # fmt: skip
def test_files_that_do_not_fit_are_told_in_one_line(
  array, words, tmp_path, config, monkeypatch, capsys
):
  fakes.pipeline(monkeypatch)
  file = tmp_path / "d.npy"
  file.write_bytes(array) if isinstance(array, bytes) else np.save(file, array)
  assert cli.run(evaluate.main, ["--disparities", str(file), *config]) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith(f"error: {file}: ") and words in shown and "\n" not in shown
  assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--disparities", "no.npy"], "no.npy: no such file"),
    (["--disparities", "d.npy", "--factor", "0"], "--factor 0 is not a positive number"),
    (["--disparities", "d.npy", "--factor", "nan"], "--factor nan"),
    (["--disparities", "d.npy", "--checkpoint", "run"], "not allowed with"),
    (["--disparities", "d.npy", "--save_disparities", "e.npy"], "goes with --checkpoint"),
    (["--disparities", "d.npy", "--config.output=1"], "--config.output=1 goes with --checkpoint"),
    (["--disparities", "d.npy"], "kitti_stereo needs config.data.data_dir"),
    (["--disparities", "d.npy", "--eval.flip=true", "--data.data_dir=x"], "no folder"),
    (["--disparities", "d.npy", "--protocol", "kitti"], "no protocol 'kitti'"),
    (["--checkpoint", "run", "--save_disparities", "e.txt"], "e.txt is no .npy file"),
    ([], "one of the arguments --disparities --checkpoint is required"),
  ],
)
def test_arguments_that_do_not_fit(argv, words, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  fakes.run_folder(tmp_path)
  np.save("d.npy", _changed())
  assert cli.run(evaluate.main, argv) == 2
  shown = capsys.readouterr().err.strip()
  assert shown.startswith("error:") and words in shown and "\n" not in shown


def test_a_file_has_no_mirrored_prediction(tmp_path, config, monkeypatch):
  fakes.pipeline(monkeypatch)
  np.save(tmp_path / "d.npy", _changed())
  with pytest.raises(errors.UserError, match="protocol.flip=True asks a network"):
    evaluate.main(["--disparities", str(tmp_path / "d.npy"), *config, "--eval.flip=true"])


def test_every_map_is_drawn_as_published(tmp_path, capsys):
  cm = pytest.importorskip("matplotlib.cm")
  colors = pytest.importorskip("matplotlib.colors")
  maps = np.random.default_rng(0).uniform(0.05, 0.9, (3, 20, 31)).astype(np.float32)
  maps[2] = 0.25
  np.save(tmp_path / "d.npy", maps)
  assert visualize.main(["--disparities", str(tmp_path / "d.npy")]) == 0
  folder = tmp_path / "disps_vis"
  assert sorted(p.name for p in folder.iterdir()) == [f"disp{i}.png" for i in range(3)]
  assert f"3 picture(s) in {folder}" in capsys.readouterr().out
  for i, x in enumerate(maps):
    norm = colors.Normalize(vmin=x.min(), vmax=np.percentile(x, 95))
    mapper = cm.ScalarMappable(norm=norm, cmap="magma")
    want = (mapper.to_rgba(x)[:, :, :3] * 255).astype(np.uint8)
    got = image.read_rgb(folder / f"disp{i}.png")
    same = (got == want).all(-1)
    assert same.mean() > 0.99  # where float32 rounds onto the next of 256 colours
    assert np.abs(got.astype(int) - want).max() <= 6
  assert (
    visualize.main(["--disparities", str(tmp_path / "d.npy"), "--output", str(tmp_path / "o")]) == 0
  )
  assert (tmp_path / "o" / "disp2.png").is_file()


def test_drawing_a_file_that_is_damaged(tmp_path, capsys):
  np.save(tmp_path / "d.npy", _changed(at=(1, 0, 0), value=np.nan))
  argv = ["--disparities", str(tmp_path / "d.npy")]
  assert cli.run(visualize.main, argv) == 2
  assert "map 1 has nan" in capsys.readouterr().err.splitlines()[-1]
  assert cli.run(visualize.main, [*argv, "--video", "a.mp4"]) == 2
  assert "--output alone" in capsys.readouterr().err


def test_columns_first_and_half_precision(tmp_path):
  x = np.random.default_rng(1).uniform(0.1, 1, (3, 4, 5))
  for name, y in {"f.npy": np.asfortranarray(x), "h.npy": x.astype(np.float16)}.items():
    np.save(tmp_path / name, y)
    maps = disparities.Maps(pathlib.Path(tmp_path / name))
    assert (maps.count, maps.height, maps.width) == (3, 4, 5)
    for i in range(3):
      np.testing.assert_array_equal(maps.read(i), y[i].astype(np.float32))


def test_maps_come_in_the_order_of_the_published_list():
  """Which is sorted by drive, and not within a drive."""
  frames = kitti_drives.eigen_frames("test")
  assert len(frames) == 697 and len(kitti_drives.eigen_frames("benchmark_test")) == 652
  first = [int(frame.rpartition("/")[2]) for frame in frames[:6]]
  assert first == [69, 54, 42, 57, 30, 27]
  drives = [frame.split("/")[1] for frame in frames]
  assert drives == sorted(drives) and set(drives[:25]) == {"2011_09_26_drive_0002_sync"}


def test_memory_does_not_grow_with_the_file(tmp_path, config, monkeypatch):
  """64 maps of 2.6 MB each are written and judged; a few of them are held."""
  size, count = (320, 1024), 64
  rng = np.random.default_rng(0)
  with disparities.writing(tmp_path / "d.npy", count, 5.4) as write:
    tracemalloc.start()
    for _ in range(count):
      write("", {"depth": rng.uniform(1, 80, size).astype(np.float32)}, {})
    written = tracemalloc.get_traced_memory()[1]
  monkeypatch.setattr(fakes.Data, "__init__", _of(count))
  fakes.pipeline(monkeypatch)
  tracemalloc.reset_peak()
  assert evaluate.main(["--disparities", str(tmp_path / "d.npy"), *config, "--no_baselines"]) == 0
  judged = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert (tmp_path / "d.npy").stat().st_size > 80e6
  assert written < 20e6 and judged < 40e6


def _of(examples):
  def init(self, depth, opened):
    self.depth, self.opened, self.examples = depth, opened, examples

  return init
