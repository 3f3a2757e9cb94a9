"""What is wrong ends in one clear line and status 2; nothing is written over or left half written.

The cheapest system there is stands for all (tests/trust/sixth.py): the mechanisms are shared.
"""

import contextlib
import ctypes
import errno
import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp
import pytest

from bicross_jax import cli, files
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.train import writers
from tests.scripts.conftest import ROOT, STAGES, script

SIXTH = STAGES["sixth-rates"]
PLUGIN = SIXTH.plugin_flags
STEREO = STAGES["toy-stereo"].config
DRIVE = "2011_09_26_drive_0001_sync"
FULL, TOO_LONG = os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG)
ODD = "a$ \\frac{x}{ #1 %20 \udcff"  # TeX, a URL's signs, a byte that is no UTF-8


@pytest.fixture(autouse=True)
def _here(place):
  """In the shared folder."""


@pytest.fixture
def run(trained, tmp_path):
  """A copy of the run of the sixth system, without its evaluations."""
  folder = tmp_path / "run"
  shutil.copytree(trained("sixth-rates"), folder, ignore=shutil.ignore_patterns("eval-*", "test*"))
  return folder


@pytest.fixture
def stream(tmp_path):
  """A file that the network of the sixth system reads."""
  path = tmp_path / "in" / "a.npy"
  spikes.write_npy(path, _stream())
  return path


@pytest.fixture
def refused(capfd, caplog):
  """refused(script, argv, *words): it ends in one line with these words, and status 2."""

  def check(name, argv, *words):
    capfd.readouterr()
    assert cli.run(script(name).main, [str(a) for a in argv]) == 2
    shown = capfd.readouterr().err
    lines = shown.replace("\r", "\n").strip().split("\n")
    assert "Traceback" not in shown + caplog.text and shown.count("error: ") == 1, shown
    assert lines[-1].startswith("error: ") and all(str(w) in lines[-1] for w in words), shown
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


@contextlib.contextmanager
def closed(path):
  """A file or folder that nobody may read or write, not even root."""
  mode = path.stat().st_mode
  path.chmod(0)
  try:
    with ordinary():
      yield
  finally:
    path.chmod(mode)


@contextlib.contextmanager
def ordinary():
  """This thread has no rights beyond those of the files (Linux: CAP_DAC_OVERRIDE, _READ_SEARCH)."""
  if os.geteuid() != 0:
    yield
    return
  libc = ctypes.CDLL(None, use_errno=True)
  header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
  had, less = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
  assert libc.capget(header, had) == 0
  less[:] = had[:]
  less[0] &= ~0b110
  assert libc.capset(header, less) == 0
  try:
    yield
  finally:
    assert libc.capset(header, had) == 0


def _all(folder):
  """{path: content} of every file below a folder; {} where it is not there."""
  return {
    str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
  }


def _stream(steps=128, height=32, width=64):
  return np.random.default_rng(0).integers(0, 2, (steps, height, width)).astype(np.uint8)


def _predict(run, tmp_path, *inputs):
  return [*inputs, "--checkpoint", run, *PLUGIN, "--output", tmp_path / "out"]


# What can be told in a moment

AT_ONCE = [  # script, arguments, words of the line
  ("train", "--config configs/bicross.py:pretrian", "unknown stage 'pretrian'"),
  ("train", "--config configs/bicross.py:pretrain,scen", "did you mean scene"),
  ("train", "--config configs/bicross.py:pretrain,a,b", "too many words"),
  ("train", "--config configs/bicross.py", "pretrain, crossdomain"),
  ("train", "--config configs/bicros.py:pretrain", "configs/bicross.py"),
  ("train", "--config nö.py:pretrain", "no config file n\\xf6.py"),
  (
    "train",
    "--config configs/evdistill.py:student,smoke,aligned=True",
    "target.sensors=event_image,",
  ),
  (
    "train",
    "--config configs/evdistill.py:student,smoke,data.height=30",
    "in multiples of",
    "30x64",
  ),
  ("train", "--config configs/evdistill.py:student,smoke,distill.mutual=1", "config.aligned=True"),
  ("train", "--config configs/evdistill.py:teacher,smoke,model.classes=3", "protocol.classes=6"),
  ("train", "--config configs/bicross.py:pretrain,model.backbon=nano", "model.backbone"),
  ("train", "--config configs/bicross.py:pretrain --config.train.steps", "--config.train.steps"),
  ("train", "--config configs/bicross.py:pretrain --config.data=3", "'data' is a section"),
  ("train", "--config configs/bicross.py:pretrain --config.seed=one", "'one'"),
  ("train", "--config configs/bicross.py:pretrain --config.data.batch_size=0", "1 to 65536"),
  ("train", "--config configs/bicross.py:pretrain --config.optim.head_lr=nan", "finite"),
  ("train", "--config configs/bicross.py:pretrain --confg.seed=1", "--confg.seed=1"),
  ("train", "--config configs/bicross.py:pretrain --config.recipe=os:abort", "module:create"),
  ("train", "--config broken.py:pretrain", "line 2"),
  ("train", "--config empty.py:pretrain", "get_config"),
  ("eval", "--checkpoint nowhere", "nowhere"),
  ("eval", "--checkpoint file", "file"),
  ("eval", "--checkpoint .", "holds no checkpoints"),
  ("eval", "--checkpoint . --eval.min_depth", "--eval.min_depth"),
  ("predict", "nothing.dat --checkpoint . --output out", "nothing.dat"),
  ("predict", "file --checkpoint . --output out", "unknown kind of input"),
  ("predict", "a.png --checkpoint nowhere --output out", "nowhere"),
  ("predict", "a.png --checkpoint . --output file", "file"),
  ("predict", "pictures --checkpoint . --output pictures", "is an input folder"),
  ("predict", "a.png --checkpoint . --output out --stride 0", "--stride 0"),
  ("predict", "a.png --checkpoint . --output out --fps inf", "--fps inf"),
  ("predict", "a.png --checkpoint . --output out --depth_range 3 nan", "--depth_range"),
  ("visualize", "--checkpoint . --output x.jpg", "x.jpg"),
  ("visualize", "--checkpoint nowhere --output x.png", "nowhere"),
  ("visualize", "--checkpoint . --video x.gif --frames 1000000000000000000000", "--frames"),
  ("visualize", "--checkpoint . --video x.gif --fps inf", "inf frames a second"),
  ("visualize", "--strip nowhere --output x.png", "NAME=RUN"),
  ("visualize", "--strip a=nowhere --output x.png", "nowhere"),
  ("uncertainty", "--checkpoint . --pixels 0", "--pixels 0"),
  ("uncertainty", "--checkpoint nowhere", "nowhere"),
  ("table", "--table configs/bicross.py:cfdk", "did you mean cfkd"),
  ("table", "--table broken.py:t", "line 2"),
  ("table", "--table configs/bicross.py:cfkd --seeds 1,a", "--seeds"),
  ("table", "--table configs/bicross.py:cfkd --seeds -1", "--seeds"),
  ("table", "--table configs/bicross.py:cfkd --root file", "file"),
  ("benchmark", "--config configs/bicross.py:pretrain --rounds 0", "--rounds 0"),
  ("benchmark", "--config configs/bicross.py:pretrain --seconds inf", "--seconds"),
  (
    "benchmark",
    "--config configs/bicross.py:pretrain --peer caffe",
    "caffe: not one of all, pytorch, transf",
  ),
  ("benchmark", "--config configs/bicross.py:pretrain --json out.json", "goes with --peer"),
  ("convert_weights", "nothing.pt --output out", "nothing.pt"),
  ("convert_weights", "file --output pictures", "is there already"),
  ("simulate_spikes", "nothing.mp4 --output a.dat --fps 10", "nothing.mp4"),
  ("simulate_spikes", "a.png --output a.dat --fps nan", "--fps"),
]
_RUNS = """
import importlib.util, json, pathlib, sys
from bicross_jax import cli
root = pathlib.Path(sys.argv[1])
for name, argv in json.loads(sys.argv[2]):
  spec = importlib.util.spec_from_file_location(f"script_{name}", root / "scripts" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  status = cli.run(module.main, argv.split())
  heavy = [word for word in ("jax", "tensorflow", "torch", "matplotlib") if word in sys.modules]
  print("status", status, *heavy, file=sys.stderr)
  for word in heavy:
    del sys.modules[word]
"""


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
  """[(line, status and heavy modules)] of `AT_ONCE`, by one process with an ascii locale."""
  here = tmp_path_factory.mktemp("at_once")
  (here / "configs").symlink_to(ROOT / "configs")
  for folder in ("pictures", "tables"):
    (here / folder).mkdir()
  (here / "file").write_text("mine")
  (here / "broken.py").write_text("def get_config(arg):\n  return (")
  (here / "empty.py").write_text("")
  for path in (here / "a.png", here / "pictures" / "a.png"):
    image.write_png(path, np.zeros((8, 8, 3), np.uint8))
  ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
  done = subprocess.run(
    [sys.executable, "-c", _RUNS, ROOT, json.dumps([case[:2] for case in AT_ONCE])],
    cwd=here,
    env={**os.environ, **ascii_only, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert sorted(p.name for p in here.iterdir()) == [
    "a.png",
    "broken.py",
    "configs",
    "empty.py",
    "file",
    "pictures",
    "tables",
  ]
  lines = done.stderr.splitlines()
  assert len(lines) == 2 * len(AT_ONCE), done.stderr
  return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize("number", range(len(AT_ONCE)), ids=[" ".join(c[:2]) for c in AT_ONCE])
def test_a_mistake_is_told_before_anything_heavy_is_loaded(number, at_once):
  line, status = at_once[number]
  assert status == "status 2" and line.startswith("error: ")
  assert AT_ONCE[number][2] in line


def test_a_reader_that_has_gone_is_no_error():
  command = [sys.executable, ROOT / "scripts" / "train.py", "--help"]
  with subprocess.Popen(
    command,
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as running:
    running.stdout.close()
    assert running.stderr.read() == b"" and running.wait(60) == 0


# Files that are damaged, short, or of another kind


@pytest.mark.parametrize(
  "damage, words",
  [
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes"),
    (lambda p: spikes.write_npy(p, _stream(steps=64)), "64 steps"),
    (lambda p: np.save(p, _stream()[..., 0]), "(T, H, W)"),
    (lambda p: p.write_bytes(b""), "a.npy"),
  ],
)
def test_a_stream_that_cannot_be_read(damage, words, run, stream, tmp_path, refused):
  damage(stream)
  lines = refused("predict", _predict(run, tmp_path, stream), stream, words)
  assert len(lines) == 1 and not (tmp_path / "out").exists()


def test_inputs_of_another_kind(run, tmp_path, refused):
  image.write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
  refused("predict", _predict(run, tmp_path, tmp_path / "a.png"), "a.png", "spike")
  np.savez(tmp_path / "b.npz", rgb=np.zeros((8, 8, 3), np.uint8))
  refused("predict", _predict(run, tmp_path, tmp_path / "b.npz"), "b.npz")
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  "where, damage, words",
  [
    (
      "depth/0000000001.png",
      lambda p: image.write_png(p, np.zeros((40, 64), np.uint8)),
      "16-bit grey PNG",
    ),
    ("spike/npy/0000000001.npy", lambda p: spikes.write_npy(p, _stream(width=72)), "x72"),
    ("rgb/0000000001.png", lambda p: p.write_bytes(p.read_bytes()[:60]), "decoded"),
    ("depth/0000000001.png", lambda p: p.unlink(), "lack files"),
  ],
)
def test_one_file_of_a_data_set_that_is_damaged(where, damage, words, tmp_path, refused):
  folder = tmp_path / "kitti" / "input" / DRIVE[:10] / DRIVE
  for i in range(3):
    name = f"{i:010d}"
    image.write_png(folder / "rgb" / f"{name}.png", np.full((40, 64, 3), 9 * i, np.uint8))
    depth_files.write_png16(folder / "depth" / f"{name}.png", np.full((40, 64), 5.0), 256)
    spikes.write_npy(folder / "spike" / "npy" / f"{name}.npy", _stream(height=40))
  damage(folder / where)
  before = _all(tmp_path / "kitti")
  fields = {"data_dir": tmp_path / "kitti", "domain": "listed", "height": 32, "width": 64}
  fields |= {f"parts.{part}": DRIVE for part in ("train", "validation", "test")}
  flags = [f"--config.data.{name}={value}" for name, value in fields.items()]
  argv = ["--config", "configs/bicross.py:crossmodality,scene", *flags]
  refused("train", [*argv, "--workdir", tmp_path / "run"], where, words)
  assert _all(tmp_path / "kitti") == before and not (tmp_path / "run").exists()


def test_a_built_set_that_is_damaged_says_how_to_mend_it(run, tmp_path, refused, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "data"))
  argv = ["--config", STEREO, "--workdir"]
  assert script("train").main([*argv, str(tmp_path / "a")]) == 0
  for path in tmp_path.glob("data/**/*validation*array_record*"):
    path.write_bytes(bytes(len(path.read_bytes())))
  refused("train", [*argv, tmp_path / "b"], "validation", "delete the folder", "built anew")
  shutil.rmtree(tmp_path / "data")
  (tmp_path / "data").write_text("mine")
  refused("train", [*argv, tmp_path / "c"], tmp_path / "data")
  assert (tmp_path / "data").read_text() == "mine" and not (tmp_path / "c").exists()


# Checkpoints


def _meta(change):
  """A damage of a checkpoint's meta: what `change` makes of it."""

  def damage(step):
    file = step / "meta" / "metadata"
    file.write_text(change(json.loads(file.read_text())))

  return damage


def _field(name, value):
  def change(meta):
    node = meta
    *above, leaf = name.split(".")
    for word in above:
      node = node[word]
    node[leaf] = value
    return json.dumps(meta)

  return _meta(change)


def _arrays(change):
  """A damage of a checkpoint's variables: one kernel becomes what `change` makes of it."""

  def damage(step):
    with ocp.StandardCheckpointer() as store:
      tree = store.restore(step / "variables")
      shutil.rmtree(step / "variables")
      layer = tree["params"]["layers_0"]
      layer["kernel"] = change(layer["kernel"])
      if layer["kernel"] is None:
        del layer["kernel"]
      store.save(step / "variables", tree)

  return damage


def _half(name):
  def damage(step):
    path = step / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

  return damage


DAMAGES = {
  "no meta": lambda step: shutil.rmtree(step / "meta"),
  "no variables": lambda step: shutil.rmtree(step / "variables"),
  "half a meta": _half("meta/metadata"),
  "half a description": _half("variables/_METADATA"),
  "half a manifest": _half("variables/manifest.ocdbt"),
  "null": _meta(lambda meta: "null"),
  "a number": _meta(lambda meta: "3"),
  "a list": _meta(lambda meta: "[]"),
  "nested deep": _meta(lambda meta: "[" * 10_000 + "]" * 10_000),
  "config null": _field("config", None),
  "a config of another system": _field("config.recipe", "nothing.here:create"),
  "a config that runs code": _field("config.recipe", "os:abort"),
  "a field of another type": _field("config.data.height", "many"),
  "a section that is a list": _field("config.data", []),
  "no such protocol": _field("config.evals.source.protocol.crop", "mid"),
  "durations": _field("config.train.steps", "soon"),
  "an array less": _arrays(lambda x: None),
  "another shape": _arrays(lambda x: x[..., :1]),
  "complex": _arrays(lambda x: x.astype(np.complex64)),
  "NaN": _arrays(lambda x: np.full_like(x, np.nan)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(damage, run, stream, tmp_path, refused):
  for step in run.glob("checkpoints/*"):
    DAMAGES[damage](step)
  lines = refused("predict", _predict(run, tmp_path, stream), "run")
  assert len(lines) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  "name, damage",
  [
    *itertools.product(
      ("eval", "visualize", "convert_weights", "uncertainty"), ("nested deep", "another shape")
    ),
    ("train", "nested deep"),  # a stage takes what fits from a parent's weights
  ],
)
def test_every_script_refuses_a_damaged_checkpoint(name, damage, run, tmp_path, refused):
  for step in run.glob("checkpoints/*"):
    DAMAGES[damage](step)
  argv = ["--checkpoint", run, *PLUGIN, "--output", tmp_path / "out.png"]
  if name == "convert_weights":
    argv = [run, *PLUGIN, "--output", tmp_path / "out.safetensors"]
  if name == "train":
    flag = f"--config.parents.weights.checkpoint={run}"
    argv = ["--config", "configs/bicross.py:pretrain,smoke", flag, "--workdir", tmp_path / "new"]
  refused(name, argv, "run")
  assert not (tmp_path / "new").exists() and not list(tmp_path.glob("out*"))


# Work folders


@pytest.mark.parametrize(
  "make, words",
  [
    (lambda f: f.write_text("mine"), ""),
    (lambda f: (f.mkdir(), (f / "metrics.jsonl").write_text("mine")), "parts of a run"),
    (lambda f: (f.mkdir(), (f / "config.json").write_text("{")), "config.json"),
    (lambda f: (f.mkdir(), (f / "config.json").write_text("[]")), "config.json"),
    (lambda f: (f.mkdir(), (f / "config.json").mkdir()), "config.json"),
  ],
)
def test_a_folder_that_cannot_be_a_runs(make, words, tmp_path, refused):
  make(tmp_path / "run")
  before = _all(tmp_path)
  refused("train", ["--config", SIXTH.config, "--workdir", tmp_path / "run"], "run", words)
  assert _all(tmp_path) == before


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"metric": 3, "best": []}'])
def test_a_result_of_another_shape(content, run, refused):
  (run / "result.json").write_text(content)
  refused("train", ["--config", SIXTH.config, "--workdir", run], "result.json")


def test_a_run_of_another_config_is_kept(run, refused):
  before = _all(run)
  argv = ["--config", SIXTH.config, "--config.rate=0.5", "--workdir", run]
  refused("train", argv, run, "another config", "rate")
  assert _all(run) == before


def test_metrics_that_are_a_folder(tmp_path, run, refused):
  for name in ("metrics.jsonl", "result.json"):
    (run / name).unlink()
  (run / "metrics.jsonl").mkdir()
  refused("train", ["--config", SIXTH.config, "--workdir", run], "metrics.jsonl")


# Places nobody may read or write, and names


@pytest.mark.parametrize("what", ["", "checkpoints", "config.json", "result.json"])
def test_a_run_that_may_not_be_read(what, run, stream, tmp_path, refused):
  with closed(run / what):
    if what.endswith("json"):
      refused("train", ["--config", SIXTH.config, "--workdir", run], run / what)
    else:
      refused("predict", _predict(run, tmp_path, stream), "run")


def test_places_that_may_not_be_read_or_written(run, stream, tmp_path, refused):
  with closed(stream):
    refused("predict", _predict(run, tmp_path, stream), stream)
  with closed(stream.parent):
    refused("predict", _predict(run, tmp_path, stream.parent), stream.parent)
  locked = tmp_path / "locked"
  locked.mkdir()
  argv = ["--checkpoint", run, *PLUGIN]
  with closed(locked):
    refused("predict", [stream, *argv, "--output", locked / "out"], locked)
    refused("eval", [*argv, "--output", locked / "out"], locked)
    refused("visualize", [*argv, "--output", locked / "p.png"], locked)
    refused("visualize", [*argv, "--video", locked / "p.gif"], locked)
    refused("train", ["--config", SIXTH.config, "--workdir", locked / "run"], locked)
    refused("table", ["--table", "configs/bicross.py:gap", "--root", locked / "runs"], locked)
  assert not _all(locked)


@pytest.mark.parametrize("name", ["eval", "visualize"])
def test_an_output_that_is_something_else_is_kept(name, run, tmp_path, refused):
  argv = ["--checkpoint", run, *PLUGIN, "--output"]
  (tmp_path / "file").write_text("mine")
  refused(name, [*argv, tmp_path / "file" / "p.png"], tmp_path / "file")
  (tmp_path / "p.png" / "images.json").mkdir(parents=True)
  refused(name, [*argv, tmp_path / "p.png"], "p.png")
  assert (tmp_path / "file").read_text() == "mine"


def test_odd_names_are_only_names(run, stream, tmp_path, capfd):
  odd = tmp_path / ODD
  odd.mkdir()
  run = run.rename(tmp_path / "run a$ #1 %20 {é?*")
  path = odd / f"{ODD}.npy"
  stream.rename(path)
  argv = ["--checkpoint", str(run), *PLUGIN]
  assert cli.run(script("predict").main, [str(path), *argv, "--output", str(odd / "out")]) == 0
  assert (odd / "out" / f"{ODD}_depth.npy").is_file()
  assert (odd / "out" / f"{ODD}.png").stat().st_size > 1000
  picture = odd / f"{ODD}.png"
  assert cli.run(script("visualize").main, [*argv, "--output", str(picture)]) == 0
  assert cli.run(script("eval").main, argv) == 0
  shown = capfd.readouterr()
  assert "Traceback" not in shown.err and picture.stat().st_size > 1000


@pytest.mark.parametrize("odd", ["a\udcff", "a\\b"])
def test_a_run_in_a_folder_that_no_library_can_name(odd, run, stream, tmp_path, refused):
  name, odd = odd, run.rename(tmp_path / odd)
  refused("predict", _predict(odd, tmp_path, stream), "UTF-8")
  refused("train", ["--config", STEREO, "--workdir", tmp_path / f"{name}2"], "UTF-8")
  data_dir = f"--config.data.data_dir={tmp_path / name}2"
  refused("train", ["--config", STEREO, data_dir, "--workdir", tmp_path / "new"], "UTF-8")
  assert not (tmp_path / "new").exists()


# A full disk


def test_a_disk_that_is_full_when_depth_is_written(run, stream, tmp_path, refused, monkeypatch):
  out = tmp_path / "out"
  out.mkdir()
  (out / "a_depth.npy").write_text("mine")
  argv = _predict(run, tmp_path, stream)
  with room(2000):
    refused("predict", argv, out, TOO_LONG)
  assert _all(out) == {"a_depth.npy": b"mine"}

  class Full(io.FileIO):
    def write(self, data):
      raise OSError(errno.ENOSPC, FULL)

  monkeypatch.setattr(
    files, "open", lambda path, mode: Full(path, mode.replace("b", "")), raising=False
  )
  refused("predict", argv, out, FULL)
  assert _all(out) == {"a_depth.npy": b"mine"}


def test_a_picture_that_does_not_fit(run, stream, tmp_path, refused):
  with room(9_000):  # the maps fit, the picture does not
    refused("predict", _predict(run, tmp_path, stream), tmp_path / "out" / "a.png", TOO_LONG)
  assert {p.name for p in (tmp_path / "out").iterdir()} == {"a_depth.npy", "a_depth.png"}


@pytest.mark.parametrize("output, more", [("s.dat", []), ("s.npy", []), ("w", ["--windows"])])
def test_a_disk_that_is_full_when_streams_are_made(output, more, tmp_path, refused):
  for i in range(3):
    image.write_png(tmp_path / "in" / f"{i}.png", np.full((40, 64, 3), 90 * i, np.uint8))
  argv = [tmp_path / "in", "--fps", 100, "--output", tmp_path / output, *more]
  with room(30_000):
    refused("simulate_spikes", argv, tmp_path / output, TOO_LONG)
  assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "in"]


def test_a_disk_that_is_full_when_data_is_built(tmp_path, refused):
  argv = ["--config", STEREO, f"--config.data.data_dir={tmp_path / 'data'}", "--workdir"]
  with room(4_000):
    refused("train", [*argv, tmp_path / "run"], tmp_path / "data", TOO_LONG)
  assert not (tmp_path / "run").exists() and not list((tmp_path / "data").rglob("*-of-*"))


def test_a_disk_that_is_full_when_a_checkpoint_is_written(trained, tmp_path, refused):
  trained("toy-stereo")  # its data are there
  argv = ["--config", STEREO, "--workdir", str(tmp_path / "run")]
  with room(3_000):
    refused("train", argv, tmp_path / "run", TOO_LONG)
  made = [*tmp_path.glob("run/checkpoints/*[0-9]"), *tmp_path.glob("run/result.json")]
  assert not made
  refused("eval", ["--checkpoint", tmp_path / "run"], "no whole checkpoint")
  assert script("train").main(argv) == 0  # there is room again
  assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 3


def test_a_disk_that_is_full_when_metrics_are_written(trained, tmp_path, refused, monkeypatch):
  trained("toy-stereo")

  def write(self, step, values):
    raise OSError(errno.ENOSPC, FULL)

  monkeypatch.setattr(writers.JsonLines, "write", write)
  refused("train", ["--config", STEREO, "--workdir", tmp_path / "run"], tmp_path / "run", FULL)


@pytest.mark.parametrize("name", ["eval", "visualize"])
def test_a_disk_that_is_full_when_results_are_written(name, run, tmp_path, refused):
  output = tmp_path / "p.png"
  with room(1000):  # enough for what is printed
    refused(name, ["--checkpoint", run, *PLUGIN, "--output", output], output, TOO_LONG)
  assert not _all(output) and not output.is_file()
