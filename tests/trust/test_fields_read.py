"""Every field of every config does something: a run of each stage reads it.

The runs are those of scripts/train.py but for the training step, which is traced and not compiled;
tests/systems trains the same configs for real.
"""

import copy
import re

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from bicross_jax.commands import evaluate, training
from bicross_jax.config import check, grammar
from bicross_jax.data.formats import depth as depth_files
from bicross_jax.data.formats import image, spikes
from bicross_jax.train import devices, runs
from tests.data import event_trees, stereo_trees
from tests.trust.conftest import ROOT
from tests.trust.reading import recorded

DRIVE = "2011_09_26_drive_0001_sync"
_PARTS = ("train", "validation", "test")
_BICROSS = ("pretrain", "crossmodality", "crossdomain", "neuromorphic")  # parents first
RUNS = {  # stages of a system in scenarios: a rendered set and one of files
  "bicross": {"smoke": _BICROSS, "scene": _BICROSS},
  "domain_invariant": {
    "smoke": ("source", "translation", "ssrl", "finetune"),
    "vkitti2kitti": ("translation", "ssrl", "finetune"),
  },
  "epcdepth": {"smoke": ("tiny",), "kitti": ("tiny",)},
  "stereospike": {"smoke": ("binocular", "historical", "ann", "spikecam"), "dsec": ("binocular",)},
  "evdistill": {"smoke": ("teacher", "student", "supervised"), "ddd17": ("supervised", "student")},
}
ELSEWHERE = {"report", "file"}  # of scripts/train.py (tests/systems), and of what starts from it


@pytest.mark.parametrize(
  "expression, fields",
  [
    ("c.seed", {"seed"}),
    ("c.a['b']", {"a.b"}),
    ("c.a.get('c')", {"a.c"}),
    ("dict(**c.a)", {"a.b", "a.c"}),
    ("dict(c.a)", {"a.b", "a.c"}),
    ("(c.a, 'b' in c.a, list(c.a), len(c))", set()),
    ("(c.to_dict(), c.to_json(), str(c), c == c.copy_and_resolve_references())", set()),
    ("(copy.deepcopy(c), runs.config_hash(c), runs.differences(c, c), check.flatten(c))", set()),
  ],
)
def test_what_counts_as_reading(expression, fields):
  config = ml_collections.ConfigDict({"a": {"b": 1, "c": 2}, "seed": 0})
  names = {"c": config, "copy": copy, "runs": runs, "check": check}
  with recorded(config) as seen:
    eval(expression, names)  # tests are no part of the package
    assert not seen
    eval(compile(expression, training.__file__, "eval"), names)  # as if it stood there
  assert seen == fields


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
  """Three frames in BiCross's layout of KITTI."""
  tree = tmp_path_factory.mktemp("kitti")
  rng = np.random.default_rng(0)
  folder = tree / "input" / DRIVE[:10] / DRIVE
  for kind in ("rgb", "depth", "spike/npy"):
    (folder / kind).mkdir(parents=True)
  for i in range(3):
    image.write_png(folder / "rgb" / f"{i:010d}.png", rng.integers(0, 256, (37, 70, 3), np.uint8))
    depth_files.write_png16(folder / "depth" / f"{i:010d}.png", rng.uniform(2, 60, (37, 70)), 256)
    spikes.write_npy(
      folder / "spike" / "npy" / f"{i:010d}.npy", rng.integers(0, 2, (128, 37, 70), np.uint8)
    )
  return tree


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
  """Frames in EvDistill's form: event image and frame side by side, and their labels."""
  tree = tmp_path_factory.mktemp("ddd17")
  rng = np.random.default_rng(0)
  for folder, count in (("train", 12), ("test", 2)):
    for kind, shape, most in (("images", (32, 128, 3), 256), ("labels", (32, 64), 6)):
      (tree / kind / folder).mkdir(parents=True)
      for i in range(count):
        picture = rng.integers(0, most, shape, np.uint8)
        image.write_png(tree / kind / folder / f"rec0_export_{i}.png", picture)
  return tree


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
  """Virtual KITTI in the tree of Akada et al."""
  tree = tmp_path_factory.mktemp("flat")
  rng = np.random.default_rng(0)
  for folder, shape in (("train_color", (24, 32, 3)), ("train_depth", (24, 32))):
    (tree / folder).mkdir()
    for i in range(12):
      image.write_png(tree / folder / f"{i}.png", rng.integers(0, 256, shape, np.uint8))
  return tree


def _cut(config, **more):
  """Makes one step of the smallest network of it; only values change, not fields."""
  sizes = {
    "train.steps": 1,
    "train.checkpoint_every": 1,
    "train.validate_every": 1,
    **({"model.backbone": "nano"} if config.model.name == "dpt" else {}),
    "input.height": 32,
    "input.width": 64,
    "data.height": 32,
    "data.width": 64,
    "data.batch_size": 2,
    "front_end.widths": "8,8",
    "front_end.reduction": 2,
    **more,
  }
  for name, _ in list(check.flatten(config)):
    value = sizes.get(name, sizes.get(re.sub(r"^(target|truth)\.", "data.", name)))
    if value is not None and not name.startswith(("evals.", "parents.")):
      grammar.override(config, f"{name}={value}")
  for where in list(_parents(config)):
    for name in ("train.steps", "train.checkpoint_every", "train.validate_every"):
      grammar.override(config, f"{where}.{name}=1")
    grammar.override(config, f"{where}.data.batch_size=2")
  return config


def _parents(config, prefix=""):
  """ "parents.student", "parents.student.parents.teacher", ... of all that a config stands on."""
  for role in config.parents:
    parent = grammar.parent(config, role)
    if parent is not None:
      yield f"{prefix}parents.{role}"
      yield from _parents(parent, f"{prefix}parents.{role}.")


class Traced:
  """A step that is traced, so that its recipe reads the config, and then only counts."""

  def __init__(self, step):
    self.step = step

  def lower(self, state, batch, key):
    self.out_info = jax.eval_shape(self.step, state, batch, key)
    return self

  def compile(self, options):
    del options
    metrics = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), self.out_info[1])
    return lambda state, batch, key: (state.replace(step=state.step + 1), metrics)


def _guess(predict, inputs):
  """As `devices.jit_predict`, but nothing is computed: every prediction is 1."""

  def run(variables, batch, carry=()):
    batch = {name: batch[name] for name in inputs}
    shapes = jax.eval_shape(predict, variables, batch, carry)
    return jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)

  return run


@pytest.fixture(scope="module")
def files(kitti, halves, flat, tmp_path_factory):
  """{scenario: the fields of a config on a few files of its set}."""
  frames = ",".join(f"{DRIVE}/{i:010d}" for i in range(3))
  pairs = tmp_path_factory.mktemp("pairs")
  stereo_trees.write(pairs)
  stereo_trees.write_depth(pairs)
  drives = tmp_path_factory.mktemp("dsec")
  for seed, part in enumerate(_PARTS):
    rig = event_trees.rig(seed, event_trees.DSEC, 2, period=100_000)
    event_trees.write_dsec(drives, part, rig)
  return {
    "smoke": {"data.train": 4, "data.validation": 2, "data.test": 2, "loss.smoothness": 0.1},
    "scene": {
      "data.data_dir": kitti,
      "data.name": "kitti",
      "data.domain": "listed",
      **{f"data.parts.{part}": frames for part in _PARTS},
    },
    "kitti": {
      "data.data_dir": pairs,
      "data.domain": "listed",
      "truth.sensors": "rgb,depth",
      **{f"data.parts.{part}": stereo_trees.DRIVE for part in _PARTS},
    },
    "ddd17": {  # with all that frames beside the events serve for
      "data.data_dir": halves,
      "model.layers": 18,
      "model.divisor": 16,
      "generator.width": 4,
      "generator.blocks": 1,
      "discriminator.width": 4,
      "target.sensors": "event_image,rgb,label",
      "aligned": True,
      "model.reconstruction": "dual",
      "distill.mutual": 1,
    },
    "vkitti2kitti": {
      "data.data_dir": flat,
      "data.domain": "legacy",
      **{
        f"{section}.{name}": value
        for section in ("target", "truth")
        for name, value in (
          ("data_dir", pairs),
          ("domain", "listed"),
          *((f"parts.{part}", stereo_trees.DRIVE) for part in _PARTS),
        )
      },
    },
    "domain_invariant": {  # in every scenario
      "data.height": 64,
      "data.width": 64,
      "model.variant": "nano",
      "generator.width": 4,
      "generator.blocks": 1,
      "discriminator.width": 4,
      "optim.epochs": 1,
    },
    "dsec": {
      "data.data_dir": drives,
      "data.domain": "listed",
      "data.height": event_trees.DSEC[0],
      "data.width": event_trees.DSEC[1],
      **{f"data.parts.{part}": part for part in _PARTS},
    },
  }


@pytest.mark.slow
@pytest.mark.parametrize("system", RUNS)
def test_every_field_of_every_config_is_read(system, here, files, monkeypatch):
  """By the training of its stage, or when a checkpoint of it is tested.

  A field that concerns only some scenarios (the parts of a real set) is read in one of those.
  """
  file = ROOT / "configs" / f"{system}.py"
  step = devices.parallel_step
  monkeypatch.setattr(devices, "parallel_step", lambda train_step: Traced(step(train_step)))
  monkeypatch.setattr(devices, "jit_predict", _guess)
  fields, read = set(), set()
  for scenario, stages in RUNS[system].items():
    for stage in stages:
      config = _cut(
        grammar.load(f"{file}:{stage},{scenario}"), **{**files[scenario], **files.get(system, {})}
      )
      unnamed = [f"parents.{role}." for role, p in config.parents.items() if p.stage is None]
      fields |= {
        name
        for name, _ in check.flatten(config)
        if not name.startswith(tuple(unnamed))  # no stage, so nothing to change in it
      }
      for section in (
        config,
        *(config[n] for n in ("data", "input", "loss", "optim", "train") if n in config),
      ):
        section.nobody = 0
      with recorded(config) as seen:
        assert training.run(config, root=here / "runs" / scenario)["steps"] == 1
        evaluate.test_config(config)
      read |= seen
  assert not fields - read - ELSEWHERE, sorted(fields - read - ELSEWHERE)
  assert not [name for name in read if name.endswith("nobody")]  # a field nobody reads is noticed
