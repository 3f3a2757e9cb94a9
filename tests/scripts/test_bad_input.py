"""What is wrong ends in one clear line and status 2; nothing is written over or left half written."""

import contextlib
import errno
import io
import json
import os
import resource
import shutil

import numpy as np
import pytest

from bicross_jax import cli, files
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.train import writers
from tests.scripts.conftest import SMALL, script

CROSSMODALITY = ["--config", "configs/bicross.py:crossmodality", *SMALL]
PRETRAIN = ["--config", "configs/bicross.py:pretrain", *(s for s in SMALL if "parent" not in s)]
DRIVE = "2011_09_26_drive_0001_sync"
FULL = os.strerror(errno.ENOSPC)
TOO_LONG = os.strerror(errno.EFBIG)


@pytest.fixture(autouse=True)
def _here(place, monkeypatch):
  monkeypatch.chdir(place)


@pytest.fixture
def refused(capsys, caplog):
  """refused(script, argv, *words): it ends in one line with these words, and status 2."""

  def check(name, argv, *words):
    capsys.readouterr()
    assert cli.run(script(name).main, [str(a) for a in argv]) == 2
    shown = capsys.readouterr().err
    lines = shown.replace("\r", "\n").strip().split("\n")
    assert "Traceback" not in shown + caplog.text and shown.count("error: ") == 1, shown
    assert lines[-1].startswith("error: ") and all(w in lines[-1] for w in words), shown
    return lines

  return check


@contextlib.contextmanager
def room(size):
  """No file may grow beyond `size` bytes: a disk that is full for large files."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _all(folder):
  """{path: content} of every file below a folder; {} where it is not there.

  Evaluations are left out: another worker may write one into the shared run.
  """
  files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
  return {str(p): (folder / p).read_bytes() for p in files if not p.parts[0].startswith("eval-")}


def _copy(run, folder):
  """Copies a run without its evaluations."""
  shutil.copytree(run, folder, ignore=shutil.ignore_patterns("eval-*"))


def _stream(steps=128, height=40, width=64):
  return np.random.default_rng(0).integers(0, 2, (steps, height, width)).astype(np.uint8)


def _predict(crossmodality, tmp_path, *inputs):
  return [
    *inputs,
    "--checkpoint",
    crossmodality,
    "--output",
    tmp_path / "out",
    "--height",
    40,
    "--width",
    64,
  ]


# Spike streams


def test_a_truncated_dat(crossmodality, tmp_path, refused):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream())
  path.write_bytes(path.read_bytes()[:-5])
  lines = refused(
    "predict", _predict(crossmodality, tmp_path, path), str(path), "40955 bytes", "320"
  )
  assert len(lines) == 1 and not (tmp_path / "out").exists()


def test_a_dat_that_is_too_short(crossmodality, tmp_path, refused):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(steps=64))
  refused("predict", _predict(crossmodality, tmp_path, path), str(path), "64 steps", "128")
  assert not (tmp_path / "out").exists()


def test_a_stream_of_another_width(crossmodality, tmp_path, refused):
  path = tmp_path / "a.dat"
  spikes.write_dat(path, _stream(steps=129, width=72))
  refused(
    "predict",
    _predict(crossmodality, tmp_path, path),
    str(path),
    "whole number of steps",
    "40 rows of 64 pixels",
  )
  np.save(tmp_path / "b.npy", _stream()[..., 0])
  refused(
    "predict",
    _predict(crossmodality, tmp_path, tmp_path / "b.npy"),
    "b.npy",
    "(128, 40)",
    "(T, H, W)",
  )
  assert not (tmp_path / "out").exists()


def test_a_bad_file_among_good_ones_ends_on_a_line_of_its_own(crossmodality, tmp_path, refused):
  for name in ("a", "b", "c"):
    spikes.write_npy(tmp_path / "in" / f"{name}.npy", _stream())
  bad = tmp_path / "in" / "b.npy"
  bad.write_bytes(bad.read_bytes()[:-1] + b"\2")  # which is seen when it is read
  refused("predict", _predict(crossmodality, tmp_path, tmp_path / "in"), str(bad))
  made = {p.name for p in (tmp_path / "out").iterdir()}
  assert made == {"a_depth.npy", "a_depth.png", "a_uncertainty.npy", "a.png"}


def test_pictures_for_a_network_of_spikes(crossmodality, tmp_path, refused):
  image.write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
  refused(
    "predict", _predict(crossmodality, tmp_path, tmp_path / "a.png"), "this network reads spike"
  )
  refused("predict", _predict(crossmodality, tmp_path, tmp_path), "no spike input", ".npy")


def test_an_output_that_is_a_file_is_kept(crossmodality, tmp_path, refused):
  spikes.write_dat(tmp_path / "a.dat", _stream())
  (tmp_path / "out").write_text("mine")
  refused("predict", _predict(crossmodality, tmp_path, tmp_path / "a.dat"), str(tmp_path / "out"))
  assert (tmp_path / "out").read_text() == "mine"


# Data folders


@pytest.fixture
def kitti(tmp_path, monkeypatch):
  """A tree of three frames in BiCross's layout, and built data of its own."""
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  folder = tmp_path / "kitti" / "input" / DRIVE[:10] / DRIVE
  for i in range(3):
    name = f"{i:010d}"
    image.write_png(folder / "rgb" / f"{name}.png", np.full((40, 64, 3), 9 * i, np.uint8))
    depth_files.write_png16(folder / "depth" / f"{name}.png", np.full((40, 64), 5.0), 256)
    spikes.write_npy(folder / "spike" / "npy" / f"{name}.npy", _stream())
  return folder


def _scene(tmp_path, data_dir):
  fields = {
    "data.data_dir": data_dir,
    "data.domain": "listed",
    "data.height": 32,
    "data.width": 64,
    "data.parts.train": DRIVE,
    "data.parts.validation": f"{DRIVE}/0000000001",
    "data.parts.test": f"{DRIVE}/0000000002",
    "data.batch_size": 2,
    "model.backbone": "tiny",
    "input.height": 32,
    "input.width": 64,
    "train.steps": 1,
  }
  return [
    "--config",
    "configs/bicross.py:pretrain,scene",
    "--workdir",
    tmp_path / "run",
    *(f"--config.{k}={v}" for k, v in fields.items()),
  ]


@pytest.mark.parametrize(
  "where, damage, words",
  [
    (
      "depth/0000000001.png",
      lambda p: image.write_png(p, np.zeros((40, 64), np.uint8)),
      "16-bit grey PNG",
    ),
    ("spike/npy/0000000001.npy", lambda p: spikes.write_npy(p, _stream(width=72)), "40x72"),
    ("spike/npy/0000000001.npy", lambda p: p.write_bytes(p.read_bytes()[:5000]), "5000 bytes"),
    ("spike/npy/0000000001.npy", lambda p: spikes.write_npy(p, _stream(steps=120)), "120 steps"),
    ("rgb/0000000001.png", lambda p: p.write_bytes(p.read_bytes()[:60]), "cannot be decoded"),
    ("depth/0000000001.png", lambda p: p.unlink(), "lack files"),
  ],
)
def test_one_file_that_is_damaged_or_missing(kitti, tmp_path, refused, where, damage, words):
  path = kitti / where
  damage(path)
  before = _all(tmp_path / "kitti")
  refused("train", _scene(tmp_path, tmp_path / "kitti"), where, words)
  assert _all(tmp_path / "kitti") == before
  assert not (tmp_path / "run").exists()
  assert not list(tmp_path.rglob("*array_record*"))


def test_a_data_folder_that_is_not_there(kitti, tmp_path, refused):
  refused("train", _scene(tmp_path, tmp_path / "nowhere"), str(tmp_path / "nowhere"), "cvlibs.net")
  refused("train", _scene(tmp_path, ""), "data_dir")
  refused("train", _scene(tmp_path, kitti), str(kitti / "input"))
  assert not (tmp_path / "run").exists() and not (tmp_path / "nowhere").exists()


def test_a_folder_for_data_that_cannot_be_written(place, tmp_path, refused):
  (tmp_path / "file").write_text("mine")
  data_dir = f"--config.data.data_dir={tmp_path / 'file'}"
  refused("train", [*PRETRAIN, data_dir, "--workdir", tmp_path / "run"], str(tmp_path / "file"))
  assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "run").exists()


# Checkpoints


def _empty(folder):
  folder.mkdir()


def _no_checkpoints(folder):
  (folder / "checkpoints").mkdir(parents=True)
  (folder / "config.json").write_text("{}")


def _no_meta(folder):
  for item in ("state", "variables"):
    (folder / "checkpoints" / "3" / item).mkdir(parents=True)
    (folder / "checkpoints" / "3" / item / "_METADATA").write_text("{}")


@pytest.mark.parametrize(
  "make, words",
  [
    (_empty, "holds no checkpoints"),
    (_no_checkpoints, "no whole checkpoint"),
    (_no_meta, "3 lacks meta"),
    (lambda folder: folder.write_text("x"), ""),
  ],
)
def test_a_folder_without_checkpoint(make, words, place, tmp_path, refused):
  folder = tmp_path / "run"
  make(folder)
  spikes.write_dat(tmp_path / "a.dat", _stream())
  before = _all(tmp_path)
  refused("predict", _predict(folder, tmp_path, tmp_path / "a.dat"), str(folder), words)
  refused("eval", ["--checkpoint", folder], str(folder), "" if folder.is_file() else words)
  refused(
    "train",
    [*CROSSMODALITY, f"--config.init_from={folder}", "--workdir", tmp_path / "new"],
    str(folder),
    words,
  )
  assert _all(tmp_path) == before


@pytest.mark.parametrize(
  "damage", ["meta/metadata", "variables/_METADATA", "variables/manifest.ocdbt"]
)
def test_a_damaged_checkpoint(damage, crossmodality, tmp_path, refused):
  run = tmp_path / "run"
  _copy(crossmodality, run)
  spikes.write_dat(tmp_path / "a.dat", _stream())
  for path in run.glob(f"checkpoints/*/{damage}"):
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
  refused("predict", _predict(run, tmp_path, tmp_path / "a.dat"), str(run))
  assert not (tmp_path / "out").exists()


# Configs and work folders


@pytest.mark.parametrize(
  "argv, words",
  [
    (["configs/bicross.py:pretrian"], ["unknown stage 'pretrian'", "pretrain"]),
    (["configs/bicross.py:pretrain,scen"], ["unknown scenario 'scen'", "scene"]),
    (["configs/bicross.py:pretrain,scene,model.backbon=tiny"], ["model.backbon", "model.backbone"]),
    (["configs/bicross.py:pretrain,a,b"], ["too many words"]),
    (["configs/bicross.py", "--config.trian.steps=3"], ["trian", "train.steps"]),
    (["configs/bicross.py", "--config.train.steps"], ["--config.train.steps"]),
    (["configs/bicross.py", "--config.data=3"], ["'data' is a section"]),
    (["configs/bicross.py", "--config.seed=one"], ["seed", "int", "'one'"]),
    (["configs/bicross.py:pretrain", "--config.train.steps=soon"], ["train.steps", "soon"]),
    (["configs/bicross.py", "--confg.seed=1"], ["--confg.seed=1"]),
    (["configs/bicros.py"], ["configs/bicros.py", "did you mean configs/bicross.py"]),
    (["configs/bicross.py:pretrain", "--config.data.domain=fogy"], ["fogy", "foggy"]),
  ],
)
def test_a_wrong_word_in_a_config_names_the_right_ones(argv, words, place, tmp_path, refused):
  work = tmp_path / "run"
  small = [f for f in PRETRAIN[2:] if "data." in f] if "steps=soon" in argv[-1] else []
  refused("train", ["--config", *argv, *small, "--workdir", work], *words)
  assert not work.exists()


@pytest.mark.parametrize("name, value", [("crossmodality", "0.5"), ("pretrain", None)])
def test_a_folder_with_a_run_of_another_config(name, value, crossmodality, refused):
  before = _all(crossmodality)
  argv = [*CROSSMODALITY, f"--config.distill.fine={value}"] if value else PRETRAIN
  refused(
    "train",
    [*argv, "--workdir", crossmodality],
    str(crossmodality),
    "another config",
    "distill.fine" if value else "stage",
  )
  assert _all(crossmodality) == before


def test_a_folder_that_is_none_or_has_parts_of_a_run(crossmodality, tmp_path, refused):
  (tmp_path / "file").write_text("mine")
  refused("train", [*CROSSMODALITY, "--workdir", tmp_path / "file"], str(tmp_path / "file"))
  (tmp_path / "parts").mkdir()
  (tmp_path / "parts" / "metrics.jsonl").write_text("mine")
  before = _all(tmp_path)
  refused("train", [*CROSSMODALITY, "--workdir", tmp_path / "parts"], "parts of a run")
  _copy(crossmodality, tmp_path / "damaged")
  (tmp_path / "damaged" / "config.json").write_text("{")
  refused("train", [*CROSSMODALITY, "--workdir", tmp_path / "damaged"], "config.json", "not JSON")
  assert _all(tmp_path).items() >= before.items()


# A full disk


def test_a_disk_that_is_full_when_depth_is_written(crossmodality, tmp_path, refused, monkeypatch):
  spikes.write_dat(tmp_path / "a.dat", _stream())
  out = tmp_path / "out"
  out.mkdir()
  (out / "a_depth.npy").write_text("mine")
  argv = _predict(crossmodality, tmp_path, tmp_path / "a.dat")
  with room(2000):
    refused("predict", argv, str(out), TOO_LONG)
  assert _all(out) == {"a_depth.npy": b"mine"}

  class Full(io.FileIO):
    def write(self, data):
      raise OSError(errno.ENOSPC, FULL)

  monkeypatch.setattr(
    files, "open", lambda path, mode: Full(path, mode.replace("b", "")), raising=False
  )
  refused("predict", argv, str(out), FULL)
  assert _all(out) == {"a_depth.npy": b"mine"}


def test_a_picture_that_does_not_fit(crossmodality, tmp_path, refused):
  spikes.write_dat(tmp_path / "a.dat", _stream())
  with room(12_000):  # the maps fit, the picture does not
    refused(
      "predict",
      _predict(crossmodality, tmp_path, tmp_path / "a.dat"),
      str(tmp_path / "out" / "a.png"),
      TOO_LONG,
    )
  made = {p.name for p in (tmp_path / "out").iterdir()}
  assert made == {"a_depth.npy", "a_depth.png", "a_uncertainty.npy"}


def test_a_disk_that_is_full_when_streams_are_made(tmp_path, refused):
  for i in range(3):
    image.write_png(tmp_path / "in" / f"{i}.png", np.full((40, 64, 3), 90 * i, np.uint8))
  with room(30_000):
    for output, more in (("s.dat", []), ("s.npy", []), ("windows", ["--windows"])):
      refused(
        "simulate_spikes",
        [tmp_path / "in", "--fps", 100, "--output", tmp_path / output, *more],
        str(tmp_path / output),
        TOO_LONG,
      )
  assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "in"]


def test_a_disk_that_is_full_when_data_is_built(place, tmp_path, refused):
  data_dir = f"--config.data.data_dir={tmp_path / 'data'}"
  argv = [*PRETRAIN, data_dir, "--workdir", tmp_path / "run"]
  with room(20_000):
    refused("train", argv, str(tmp_path / "data"), TOO_LONG)
  assert not (tmp_path / "run").exists() and not list((tmp_path / "data").rglob("*-of-*"))


@pytest.mark.slow
def test_a_disk_that_is_full_when_a_checkpoint_is_written(crossmodality, tmp_path, refused):
  argv = [*PRETRAIN, "--workdir", tmp_path / "run"]
  with room(100_000):
    refused("train", argv, str(tmp_path / "run"), TOO_LONG)
  assert (
    not list(tmp_path.glob("run/checkpoints/*[0-9]"))
    and not (tmp_path / "run/result.json").exists()
  )
  refused("eval", ["--checkpoint", tmp_path / "run"], "no whole checkpoint")
  assert script("train").main([str(a) for a in argv]) == 0  # there is room again
  assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 2


def test_a_disk_that_is_full_when_metrics_are_written(
  crossmodality, tmp_path, refused, monkeypatch
):
  def write(self, step, values):
    raise OSError(errno.ENOSPC, FULL)

  monkeypatch.setattr(writers.JsonLines, "write", write)
  refused("train", [*PRETRAIN, "--workdir", tmp_path / "run"], str(tmp_path / "run"), FULL)


def test_a_disk_that_is_full_when_results_are_written(crossmodality, tmp_path, refused):
  with room(100):
    refused(
      "eval",
      ["--checkpoint", crossmodality, "--output", tmp_path / "out"],
      str(tmp_path / "out"),
      TOO_LONG,
    )
  assert not _all(tmp_path / "out")
  with room(100):
    refused(
      "visualize",
      ["--checkpoint", crossmodality, "--output", tmp_path / "p.png"],
      str(tmp_path),
      TOO_LONG,
    )
  assert not _all(tmp_path)
