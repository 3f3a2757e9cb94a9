"""Label spaces against StereoSpike's formulas, in float64."""

import numpy as np
import pytest

from bicross_jax.ops import label_space
from bicross_jax.ops.label_space import LabelSpace

DEPTHS = np.array([0.02, 0.0247, 0.03, 0.5, 1, 9.9, 10, 12], np.float32)


def test_log_labels_of_the_published_constants():
  """y = clip(1 + ln(clip(d, 0, 10) / 10) / 6, 0, 1): all below 10 exp(-6) m is 0."""
  want = np.clip(1 + np.log(np.clip(DEPTHS.astype(np.float64), 1e-9, 10) / 10) / 6, 0, 1)
  got = label_space.encode(LabelSpace("log"), DEPTHS)
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert got[0] == 0 and got[-1] == 1


def test_disparities_of_the_published_camera():
  got = label_space.encode(LabelSpace("disp"), DEPTHS)
  np.testing.assert_allclose(got, 7 * 19.941772 / DEPTHS.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize("name", label_space.SPACES)
def test_decoding_undoes_encoding(name):
  space = LabelSpace(name)
  inside = DEPTHS[2:7]
  back = label_space.decode(space, label_space.encode(space, inside))
  np.testing.assert_allclose(back, inside, rtol=1e-5)


@pytest.mark.parametrize("name", label_space.SPACES)
def test_unknown_depth_has_a_finite_label(name):
  assert np.isfinite(label_space.encode(LabelSpace(name), np.zeros(3, np.float32))).all()


def test_what_a_network_says_is_always_a_depth():
  """Disparities below nothing are far away; logarithms beyond 1 go on."""
  said = np.array([-3, 0, 0.5, 1.2], np.float32)
  far = label_space.decode(LabelSpace("disp"), said)
  assert np.isfinite(far).all() and (far > 0).all()
  assert label_space.decode(LabelSpace("log"), said)[-1] == pytest.approx(10 * np.exp(1.2))


def test_there_are_three():
  for function in (label_space.encode, label_space.decode):
    with pytest.raises(ValueError, match="choose from lin, log, disp"):
      function(LabelSpace("inverse"), DEPTHS)
