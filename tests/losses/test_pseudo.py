import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.losses import pseudo


def test_trusted_is_the_surer_half_of_the_valid_pixels():
  rng = np.random.default_rng(0)
  u, valid = rng.normal(size=(2, 5, 7)).astype(np.float32), rng.random((2, 5, 7)) < 0.7
  kept = np.asarray(pseudo.trusted(jnp.asarray(u), jnp.asarray(valid)))
  np.testing.assert_array_equal(kept, valid & (u < np.median(u[valid])))


def test_disagreement_and_spread_are_of_log_depth_and_have_no_gradient():
  a, b = jnp.full((1, 2, 2), 2.0), jnp.full((1, 2, 2), 4.0)
  np.testing.assert_allclose(pseudo.disagreement(a, b), np.log(2), rtol=1e-6)
  np.testing.assert_allclose(pseudo.spread(jnp.stack([a, b])), np.log(2) / 2, rtol=1e-6)
  for f in (
    lambda x: pseudo.disagreement(x, b).sum(),
    lambda x: pseudo.spread(jnp.stack([x, b])).sum(),
  ):
    np.testing.assert_array_equal(jax.grad(f)(a), 0)


def test_view_spread_is_over_the_stream_its_mirror_image_and_the_augmented_one():
  """A network that reads a depth off each pixel's first byte, times a ramp from left to right."""
  ramp = np.linspace(1, 3, 6, dtype=np.float32)
  spike, shaken = np.random.default_rng(0).integers(1, 9, (2, 2, 4, 6, 2), np.uint8)

  def look(x):
    return jnp.asarray(x[..., 0], jnp.float32) * ramp[None, None]

  got = pseudo.view_spread(look, spike, shaken, look(spike))
  views = [spike[..., 0] * ramp, spike[..., 0] * ramp[::-1], shaken[..., 0] * ramp]
  np.testing.assert_allclose(got, np.std(np.log(views), axis=0), rtol=1e-5, atol=1e-6)
