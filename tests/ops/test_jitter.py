"""Colour jitter against Pillow's enhancers, as torchvision uses them."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance
import pytest

from bicross_jax.ops import jitter

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (24, 31, 3), np.uint8)
ENHANCERS = {
  jitter.brightness: ImageEnhance.Brightness,
  jitter.contrast: ImageEnhance.Contrast,
  jitter.saturation: ImageEnhance.Color,
}


@pytest.mark.parametrize("change", ENHANCERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
def test_equals_pillow_to_a_grey_level(change, factor):
  want = np.asarray(ENHANCERS[change](Image.fromarray(IMAGE)).enhance(factor), np.float32)
  got = 255 * np.asarray(change(jnp.asarray(IMAGE / 255, jnp.float32), factor))
  assert np.abs(got - want).max() <= 1.6 and np.abs(got - want).mean() < 0.6


@pytest.mark.parametrize("shift", [-0.1, 0.0, 0.07])
def test_hue_equals_pillow(shift):
  """Pillow has 8 bits of hue, saturation and value, so single pixels may be some levels apart."""
  hsv = np.asarray(Image.fromarray(IMAGE).convert("HSV")).copy()
  hsv[..., 0] += np.uint8(int(255 * shift) % 256)
  want = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"), np.float32)
  moved = int(255 * shift) / 256
  got = 255 * np.asarray(jitter.hue(jnp.asarray(IMAGE / 255, jnp.float32), moved))
  assert np.abs(got - want).mean() < 1.6 and np.abs(got - want).max() < 10


def test_hue_turns_red_to_green_to_blue():
  red = jnp.asarray([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]])
  np.testing.assert_allclose(jitter.hue(red, 1 / 3)[0, 0], [0, 1, 0], atol=1e-6)
  np.testing.assert_allclose(jitter.hue(red, -1 / 3)[0, 0], [0, 0, 1], atol=1e-6)
  np.testing.assert_allclose(jitter.hue(red, 0.2)[0, 1], [0.5, 0.5, 0.5], atol=1e-6)


def test_every_image_is_changed_in_its_own_way_or_left_alone():
  images = jnp.asarray(np.repeat(IMAGE[None] / 255, 64, axis=0), jnp.float32)
  out = np.asarray(jax.jit(lambda k, x: jitter.jitter(k, x, share=0.5))(jax.random.key(3), images))
  same = np.abs(out - images).max((1, 2, 3)) == 0
  assert 18 <= same.sum() <= 46
  assert out.min() >= 0 and out.max() <= 1
  changed = out[~same]
  assert len({x.tobytes() for x in changed}) == len(changed)


def test_the_order_matters_and_is_drawn(monkeypatch):
  """All orders of four changes occur."""
  steps = [lambda x, amount, i=i: 10 * x + (i + 1) + 0 * amount for i in range(4)]
  monkeypatch.setattr(jitter, "CHANGES", steps)
  out = jitter.jitter(jax.random.key(0), jnp.zeros((200, 1, 1, 3)))
  orders = {f"{int(x):04d}" for x in np.asarray(out[:, 0, 0, 0])}
  assert all(sorted(o) == list("1234") for o in orders) and len(orders) > 20
