"""Blurs and the elastic field against closed forms."""

import numpy as np
import pytest

from bicross_jax.sim import blur


def _point(size=(61, 81)):
  image = np.zeros((*size, 3), np.float32)
  image[size[0] // 2, size[1] // 2] = 1
  return image


def _spread(image):
  """Sum, mean place and variance (down, across) of the light of one colour."""
  x = image[..., 0].astype(np.float64)
  places = np.indices(x.shape)
  mean = (places * x).sum((1, 2)) / x.sum()
  return x.sum(), mean, ((places - mean[:, None, None]) ** 2 * x).sum((1, 2)) / x.sum()


@pytest.mark.parametrize("radius, soften", [(3, 0.1), (6, 0.5), (10, 0.5)])
def test_out_of_focus_a_point_is_a_disk(radius, soften):
  total, mean, variance = _spread(blur.defocus(_point(), radius, soften))
  assert total == pytest.approx(1, abs=1e-5)
  np.testing.assert_allclose(mean, (30, 40), atol=1e-4)
  np.testing.assert_allclose(variance, radius**2 / 4 + soften**2, rtol=0.06)


@pytest.mark.parametrize("angle, step", [(0, (0, -1)), (90, (-1, 0)), (45, None), (-45, None)])
def test_a_moving_camera_draws_a_point_along_a_line(angle, step):
  radius, sigma = 10, 5.0
  found = blur.motion(_point(), radius, sigma, angle)[..., 0]
  weights = np.exp(-(np.arange(21) ** 2) / (2 * sigma**2))
  assert found.sum() == pytest.approx(1, abs=1e-5)
  if step:
    line = [found[30 + i * step[0], 40 + i * step[1]] for i in range(21)]
    np.testing.assert_allclose(line, weights / weights.sum(), atol=1e-6)
  else:
    places = np.argwhere(found > 1e-4) - (30, 40)
    assert np.all(places[:, 0] * np.sign(angle) == places[:, 1])
  flat = np.full((5, 6, 3), 0.3, np.float32)  # smaller than the line: the border goes on
  np.testing.assert_allclose(blur.motion(flat, radius, sigma, angle), flat, atol=1e-6)


def test_glass_moves_pixels_and_loses_none():
  image = np.arange(30 * 40 * 3, dtype=np.float32).reshape(30, 40, 3)
  for most, rounds in ((1, 1), (2, 3), (4, 2)):
    found = blur.glass(image, np.random.default_rng(0), 0.05, most, rounds)  # as good as no blur
    np.testing.assert_array_equal(np.sort(found[..., 0].ravel()), np.sort(image[..., 0].ravel()))
    np.testing.assert_array_equal(found[..., 1] - found[..., 0], 1)  # whole pixels move
    assert (found != image).any(-1).mean() > 0.4
    origin = np.stack(np.divmod(found[..., 0] / 3, 40))
    assert np.median(np.abs(origin - np.indices((30, 40)))) <= most * rounds
  np.testing.assert_array_equal(
    blur.glass(image[:3], np.random.default_rng(0), 0.05, 2, 2), image[:3]
  )


def test_a_zoom_is_the_mean_of_scaled_ramps():
  across = np.linspace(-1, 1, 81, dtype=np.float32)
  image = np.broadcast_to(0.5 + 0.2 * across[None, :, None], (61, 81, 3))
  np.testing.assert_allclose(
    blur.enlarge(image, 2.0),
    0.5 + 0.1 * np.broadcast_to(across[None, :, None], image.shape),
    atol=2e-4,
  )
  factors = [1.0, 1.1, 1.2, 1.3]
  slope = (1 + sum(1 / f for f in factors)) / 5
  wanted = 0.5 + 0.2 * slope * np.broadcast_to(across[None, :, None], image.shape)
  np.testing.assert_allclose(blur.zoom(image, 30, 10), wanted, atol=2e-4)


def test_an_elastic_field_is_as_strong_as_blurred_noise_is():
  """On a ramp the field can be read off: white noise blurred by Gaussians of sigma a and b has a
  standard deviation of 1 / (2 sqrt(pi a b)) of the noise's, which is the most by sqrt(3)."""
  down, across = np.indices((200, 300), np.float32)
  for axis, ramp in enumerate((down, across)):
    image = np.repeat(ramp[..., None], 3, -1)
    moved = blur.elastic(image, np.random.default_rng(0), 20.0)[..., 0] - ramp
    inside = moved[20:-20, 20:-20]
    wanted = 20 * 0.005 * 200 / np.sqrt(3) / (2 * np.sqrt(np.pi * 2 * 3))
    assert inside.std() == pytest.approx(wanted, rel=0.1), axis
