"""Clouds, ice and flakes: ranges and statistics."""

import cv2
import numpy as np
import pytest

from bicross_jax.sim import weather
from bicross_jax.sim.corruptions import corrupt


def test_clouds_fill_their_range_and_are_finer_where_they_decay_less():
  rough = []
  for decay in (2.0, 1.7, 1.4):
    found = [weather.plasma(np.random.default_rng(k), (128, 128), decay) for k in range(30)]
    assert all(x.min() == 0 and x.max() == 1 for x in found)  # of the whole torus
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    rough.append(np.mean([np.abs(np.diff(x, axis=0)).mean() / x.std() for x in found]))
  assert rough[0] < rough[1] < rough[2]
  assert weather.plasma(np.random.default_rng(0), (5, 40), 2.0).shape == (5, 40)


def test_clouds_are_a_torus():
  """Opposite borders of a whole map are neighbours."""
  x = weather.plasma(np.random.default_rng(1), (64, 64), 2.0)
  inside = np.abs(np.diff(x, axis=0)).mean()
  assert np.abs(x[0] - x[-1]).mean() < 2 * inside


def test_ice_is_as_bright_as_rough_and_as_blue_as_the_photographs():
  """Photographs of ImageNet-C, grey levels: mean 123 to 207, fine structure 6 to 18, blue over red 1.06
  to 2.1."""
  for seed in range(4):
    picture = 255 * weather.frost_picture(np.random.default_rng(seed), (192, 640))
    grey = picture.mean(-1)
    assert 115 < grey.mean() < 215
    assert 6 < (grey - cv2.GaussianBlur(grey, (0, 0), 1)).std() < 18
    assert 1.06 < picture[..., 2].mean() / picture[..., 0].mean() < 2.1


def test_flakes_are_brighter_and_the_same_upside_down():
  image = np.full((80, 120, 3), 90, np.uint8)
  found = corrupt(image, "snow", 3, seed=4)
  np.testing.assert_allclose(found.astype(int), found[::-1, ::-1].astype(int), atol=1)
  keep = 0.7
  pale = 255 * (keep * 90 / 255 + (1 - keep) * (1.5 * 90 / 255 + 0.5))
  assert found.min() == pytest.approx(pale, abs=1) and found.max() > 200
