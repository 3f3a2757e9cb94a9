"""Measures of uncertainty of a made-up network, and how the findings are written."""

import json
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from bicross_jax.commands import uncertainty
from bicross_jax.config import grammar
from bicross_jax.ops import augment
from bicross_jax.tasks.depth import uncertainty

H, W = 32, 64


class _Output(NamedTuple):
  depth: jax.Array
  uncertainty: jax.Array | None


def _network(head=True):
  """Depth is 1 + params times the mean of a pixel's steps and its column; the head is a tenth."""

  def apply(variables, x):
    column = jnp.arange(1, W + 1, dtype=jnp.float32)[None, None] / W
    depth = 1 + variables["params"] * (x.mean(-1) + 1.5) * column
    return _Output(depth, depth / 10 if head else None)

  return types.SimpleNamespace(apply=apply)


def _config(*overrides):
  size = (
    "input.height=32",
    "input.width=64",
    "data.height=32",
    "data.width=64",
    "model.stem_bins=0",
  )
  return grammar.load("configs/bicross.py:crossdomain", [*size, *overrides])


def _depth(params, spike):
  """The network in NumPy, on packed streams."""
  x = 2 * np.unpackbits(spike, axis=-1).astype(np.float32).mean(-1) - 1
  return 1 + params * (x + 1.5) * np.arange(1, W + 1) / W


@pytest.fixture(scope="module")
def spike():
  return np.random.default_rng(0).integers(0, 256, (2, H, W, 16), np.uint8)


@pytest.mark.parametrize("augmented", [True, False])
def test_measures_of_both_networks_on_all_views(spike, augmented):
  config = _config(f"adapt.augment={str(augmented).lower()}")
  pair = uncertainty.Pair(teacher=jnp.float32(3), student=jnp.float32(5))
  measure = uncertainty.measures(config, _network(), {"params": pair.teacher}, pair)
  found = measure({"spike": spike}, 7)
  assert list(found) == ["depth", "head", "disagreement", "variance"]
  shaken = np.asarray(augment.strong(jax.random.fold_in(jax.random.key(0), 7), spike))
  teacher = _depth(3, spike)
  student = _depth(5, shaken if augmented else spike)
  views = [teacher, _depth(3, spike[:, :, ::-1])[:, :, ::-1], _depth(3, shaken)]
  np.testing.assert_allclose(found["depth"], teacher, rtol=1e-5)
  np.testing.assert_allclose(found["head"], teacher / 10, rtol=1e-5)
  np.testing.assert_allclose(
    found["disagreement"], np.abs(np.log(teacher / student)), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(found["variance"], np.std(np.log(views), 0), rtol=1e-4, atol=1e-5)


def test_they_disagree_as_much_when_the_student_is_published(spike):
  pair = uncertainty.Pair(teacher=jnp.float32(3), student=jnp.float32(5))
  of_teacher, of_student = (
    uncertainty.measures(_config("adapt.augment=true"), _network(), {"params": params}, pair)(
      {"spike": spike}, 7
    )
    for params in pair
  )
  np.testing.assert_allclose(of_student["depth"], _depth(5, spike), rtol=1e-5)
  np.testing.assert_array_equal(of_teacher["disagreement"], of_student["disagreement"])


def test_a_measure_that_cannot_be_is_left_out(spike):
  measure = uncertainty.measures(_config(), _network(head=False), {"params": jnp.float32(3)})
  assert list(measure({"spike": spike}, 0)) == ["depth", "variance"]


def test_a_head_of_l1log_is_brought_to_the_scale_of_relative_errors(spike):
  config = _config("loss.uncertainty=l1log")
  measure = uncertainty.measures(config, _network(), {"params": jnp.float32(3)})
  depth = _depth(3, spike)
  want = (np.log1p(np.exp(depth / 10)) + 1e-3) / depth
  np.testing.assert_allclose(measure({"spike": spike}, 0)["head"], want, rtol=1e-4)


@pytest.fixture(scope="module")
def found():
  """Two domains with a measure that knows the error, and one that knows nothing."""
  rng = np.random.default_rng(0)
  out = {}
  for name, scale in (("source", 0.5), ("target", 1.0)):
    images = []
    for _ in range(12):
      error = (scale * rng.uniform(0, 1, 500)).astype(np.float32)
      noise = rng.uniform(0, 1, 500).astype(np.float32)
      images.append(uncertainty.Pixels(error, {"head": error / 2, "disagreement": noise}))
    judged = uncertainty.judge(images, {"head": 2.0, "disagreement": 0.5})
    out[name] = uncertainty.Domain(f"set/{name}/test", 12, 6000, scale / 2, 0.45, judged)
  return out


def test_the_table_and_the_differences(found):
  lines = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in uncertainty.table(found["target"]).splitlines()
  ]
  assert lines[0][1:] == list(uncertainty.COLUMNS)
  head, disagreement, none = lines[2:]
  assert head[:2] == ["head", "0.000"] and head[3].startswith("0.25") and head[6] == "2.000"
  assert disagreement[0] == "disagreement" and float(disagreement[1]) == pytest.approx(
    0.45, abs=0.03
  )
  assert none == ["none", "0.450", "-", "0.500", "-", "-", "-"]
  ((name, interval),) = uncertainty.differences(found["target"]).items()
  assert name == "disagreement minus head" and 0.4 < interval.low < interval.value < interval.high


def test_three_files_are_written(found, tmp_path):
  paths = uncertainty.save(tmp_path / "out", found, checkpoint="here")
  assert [p.name for p in paths] == ["uncertainty.json", "uncertainty.md", "uncertainty.png"]
  assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
  written = json.loads(paths[0].read_text())
  assert written["checkpoint"] == "here" and list(written["domains"]) == ["source", "target"]
  head = written["domains"]["source"]["measures"]["head"]
  assert len(head["ause"]) == 12 and len(head["sparsification"]["by_error"]) == 20
  assert len(head["reliability"]["claimed"]) == len(head["reliability"]["found"]) == 10
  assert paths[1].read_text() == uncertainty.text(found)
  with Image.open(paths[2]) as picture:
    assert picture.format == "PNG"
