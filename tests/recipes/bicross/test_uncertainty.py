"""The measures of uncertainty of a made-up network, against NumPy."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.config import grammar
from bicross_jax.ops import augment
from bicross_jax.recipes.bicross import uncertainty

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
  return grammar.load("configs/bicross.py:crossdomain,smoke", ["model.stem_bins=0", *overrides])


PARTS = {"teacher": 3.0, "student": 5.0}


def _measured(config, network, params, spike, number=0):
  """What is measured of a network; where it has a teacher, that and its student are `PARTS`."""
  found = uncertainty.measures(config, network)
  parts = {name: jnp.float32(PARTS[name]) for name in found.parts}
  return found.measure({"params": jnp.float32(params)}, parts, {"spike": spike}, number)


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
  found = _measured(config, _network(), PARTS["teacher"], spike, number=7)
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
  config = _config("adapt.augment=true")
  of_teacher, of_student = (
    _measured(config, _network(), params, spike, number=7) for params in PARTS.values()
  )
  np.testing.assert_allclose(of_student["depth"], _depth(5, spike), rtol=1e-5)
  np.testing.assert_array_equal(of_teacher["disagreement"], of_student["disagreement"])


def test_a_measure_that_cannot_be_is_left_out(spike):
  config = _config("adapt.method=adversarial")  # without a teacher
  assert list(_measured(config, _network(head=False), 3.0, spike)) == ["depth", "variance"]


def test_a_head_of_l1log_is_brought_to_the_scale_of_relative_errors(spike):
  config = _config("loss.uncertainty=l1log")
  found = _measured(config, _network(), 3.0, spike)
  depth = _depth(3, spike)
  want = (np.log1p(np.exp(depth / 10)) + 1e-3) / depth
  np.testing.assert_allclose(found["head"], want, rtol=1e-4)
