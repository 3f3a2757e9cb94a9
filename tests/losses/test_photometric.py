"""Losses of self-supervised stereo against the authors' values in float64 and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import photometric
from bicross_jax.ops import resize, warp

# Of the authors' code in float64: losses of two made-up pairs at 192x256, and sums of |gradient| by map.
AUTOMASK_HINT, HINT, AUTOMASK, PLAIN, DISTILLATION = (
  0.504782,
  0.504802,
  0.060603,
  0.060679,
  0.004653,
)
GRADIENTS = (
  *(5.191079, 5.030904, 5.011631, 5.023209, 5.109360),
  *(5.295594, 5.213760, 4.953794, 5.019777, 5.021927),
)
GROUPS = [slice(0, 5), slice(5, 10)]
RNG = np.random.default_rng(0)


@pytest.fixture
def double():
  jax.config.update("jax_enable_x64", True)
  yield
  jax.config.update("jax_enable_x64", False)


def _frames(maps, size):
  return jnp.stack([resize.bilinear(x, size)[..., 0] for x in maps])


def _warped(image, depth, focal, shift):
  """As the authors write it: back-projected, moved, projected with 1e-7 added to the depth."""
  h, w = image.shape[1:3]
  v, u = jnp.mgrid[:h, :w].astype(image.dtype)
  z = depth + 1e-7
  x = (depth * u[None] + focal * shift[:, None, None]) / z
  y = depth * v[None] / z
  return warp.sample(image, jnp.stack([x, y], axis=-1))


class Case:
  """A stereo pair with ten maps, judged as the authors do."""

  def __init__(self, target, partner, maps, shift, hint=None):
    self.target, self.partner, self.maps, self.hint = target, partner, maps, hint
    self.size, self.shift = target.shape[1:3], shift
    self.moments = photometric.moments(target)

  def error(self, depth):
    focal = 0.58 * self.size[1]
    return photometric.reprojection(_warped(self.partner, depth, focal, self.shift), self.moments)

  def losses(self, maps, *, automask=False, hint=False):
    """(photometric and hint loss, self-distillation)."""
    full = _frames(maps, self.size)
    depths = 1 / (0.01 + 9.99 * full)
    errors = jax.vmap(self.error)(depths)
    still = photometric.reprojection(self.partner, self.moments)[None]
    best = photometric.winners(
      errors,
      jnp.broadcast_to(still, errors.shape) if automask else None,
      self.error(self.hint) + 1000 * (self.hint <= 0) if hint else None,
    )
    total = photometric.masked(errors, best.counts)
    if hint:
      total += photometric.masked(photometric.towards(depths, self.hint), best.hint)
    groups = GROUPS if len(maps) == 10 else [slice(0, len(maps))]
    return total, photometric.distillation(full, errors, groups)


def _waves(n, shift=0):
  v, u = np.mgrid[:192, :256]
  u = u + shift
  colour = lambda c: np.sin(0.11 * u + 0.05 * v + c + n) + np.sin(0.37 * u - 0.23 * v + 2 * c)
  return np.stack([0.5 + 0.25 * colour(c) for c in range(3)], -1)


def _made_up():
  v, u = np.mgrid[:192, :256]
  hint = np.where((v + u) % 7 == 0, 0, 0.058 * 256 / (4.5 + (v // 8 + u // 8) % 2))

  def map_(k, level):
    y, x = np.mgrid[: 192 >> level, : 256 >> level]
    wave = lambda n: np.sin(0.2 * y + 0.13 * x + k + n)
    return jnp.asarray(np.stack([0.037 + 0.006 * wave(n) for n in range(2)])[..., None])

  return Case(
    jnp.asarray(np.stack([_waves(0), _waves(1)])),
    jnp.asarray(np.stack([_waves(0, 5), _waves(1, -5)])),
    [map_(k, level) for k, level in enumerate((0, 1, 2, 3, 4, 5, 4, 3, 2, 1))],
    jnp.asarray([-0.1, 0.1]),
    jnp.asarray(np.stack([hint, hint[::-1]])),
  )


@pytest.mark.slow
def test_the_authors_values_in_float64(double):
  case = _made_up()
  for options, want in (
    (dict(automask=True, hint=True), AUTOMASK_HINT),
    (dict(hint=True), HINT),
    (dict(automask=True), AUTOMASK),
    ({}, PLAIN),
  ):
    found, distilled = case.losses(case.maps, **options)
    np.testing.assert_allclose(found, want, atol=6e-7)
    np.testing.assert_allclose(distilled, DISTILLATION, atol=6e-7)
  total = lambda maps: sum(case.losses(maps, automask=True, hint=True))
  sums = [jnp.abs(g).sum() for g in jax.grad(total)(case.maps)]
  np.testing.assert_allclose(sums, GRADIENTS, atol=2e-6)
  parts = (
    photometric.ssim_loss(photometric.moments(case.partner), case.moments).mean(),
    photometric.reprojection(case.partner, case.moments).mean(),
    case.error(case.hint).mean(),
    photometric.smoothness(_frames(case.maps[:1], case.size), case.target, (1.0,)),
  )
  np.testing.assert_allclose(parts, (0.530985, 0.490585, 0.189440, 0.032488), atol=6e-7)


def test_the_golden_case_in_float64(double, golden):
  case = golden.load("epcdepth_losses").outputs
  nhwc = lambda name: jnp.asarray(case[name].transpose(0, 2, 3, 1), jnp.float64)
  maps = [nhwc(f"sigma_{k}") for k in range(10)]
  shift = jnp.asarray(np.round(case["T"][:, 0, 3].astype(np.float64), 6))
  pair = Case(nhwc("curr"), nhwc("other_side"), maps, shift)
  for name, options in (("automask", dict(automask=True)), ("plain", {})):
    found, distilled = pair.losses(maps, **options)
    np.testing.assert_allclose(found, case[name], atol=2e-9)
    np.testing.assert_allclose(distilled, case["distillation"], atol=1e-12)
  np.testing.assert_allclose(pair.losses(maps[:4])[1], case["distillation_4"], atol=1e-12)
  gradients = jax.grad(lambda maps: pair.losses(maps)[1])(maps)
  for k, got in enumerate(gradients):
    want = case[f"distillation/grad_{k}"].transpose(0, 2, 3, 1)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_smoothness_by_the_number_of_a_map(double, golden):
  """What 0.1 of smoothness adds to the published loss, weights halved with every map of the list."""
  case = golden.load("epcdepth_losses").outputs
  maps = [jnp.asarray(case[f"sigma_{k}"].transpose(0, 2, 3, 1), jnp.float64) for k in range(10)]
  image = jnp.asarray(case["curr"].transpose(0, 2, 3, 1), jnp.float64)
  weights = [0.1 / 2**k for k in range(10)]
  got = photometric.smoothness(_frames(maps, image.shape[1:3]), image, weights)
  np.testing.assert_allclose(got, case["automask_hint_smooth"] - case["automask_hint"], atol=2e-9)


def test_reprojection_is_zero_for_the_same_image_and_grows():
  image = jnp.asarray(RNG.random((1, 8, 9, 3)), jnp.float32)
  target = photometric.moments(image)
  assert np.abs(photometric.reprojection(image, target)).max() < 1e-5
  dark = photometric.reprojection(0.5 * image, target)
  assert (dark > 0).all() and (photometric.reprojection(0.25 * image, target) > dark).mean() > 0.9


def test_ssim_is_that_of_its_formula():
  a, b = RNG.random((2, 1, 5, 6, 1))
  got = photometric.ssim_loss(*(photometric.moments(jnp.asarray(x, jnp.float32)) for x in (a, b)))
  pad = lambda x: np.pad(x[0, :, :, 0], 1, mode="reflect")
  windows = lambda x: np.lib.stride_tricks.sliding_window_view(pad(x), (3, 3)).reshape(5, 6, 9)
  x, y = windows(a), windows(b)
  mx, my = x.mean(-1), y.mean(-1)
  covariance = ((x - mx[..., None]) * (y - my[..., None])).mean(-1)
  index = (2 * mx * my + 1e-4) * (2 * covariance + 9e-4)
  index /= (mx**2 + my**2 + 1e-4) * (x.var(-1) + y.var(-1) + 9e-4)
  np.testing.assert_allclose(got[0, 0], np.clip((1 - index) / 2, 0, 1), atol=1e-5)


def test_of_equal_candidates_the_first_wins():
  one = jnp.ones((1, 1, 2, 2))
  best = photometric.winners(one, one, one[0])
  assert best.counts.all() and not best.hint.any()
  best = photometric.winners(2 * one, one, one[0])  # the image as it is comes before the hint
  assert not best.counts.any() and not best.hint.any()
  best = photometric.winners(2 * one, one, 0.5 * one[0])  # a pixel that the hint wins counts
  assert best.counts.all() and best.hint.all()
  best = photometric.winners(2 * one)
  assert best.counts.all() and not best.hint.any()


def test_nothing_counts_nothing_lost():
  errors = jnp.full((2, 1, 2, 3), 5.0)
  assert photometric.masked(errors, jnp.zeros(errors.shape, bool)) == 0
  assert not jax.grad(lambda x: photometric.masked(x, x > 9))(errors).any()


def test_the_best_map_of_a_group_teaches_the_others():
  maps = jnp.asarray([0.1, 0.4, 0.8])[:, None, None, None] * jnp.ones((1, 1, 1, 2))
  errors = jnp.asarray([[3.0, 1.0], [2.0, 1.0], [1.0, 5.0]])[:, None, None, :]
  loss = lambda maps: photometric.distillation(maps, errors, [slice(0, 3)])
  want = np.log1p([[0.7, 0.0], [0.4, 0.3], [0.0, 0.7]]).mean()
  np.testing.assert_allclose(loss(maps), want, rtol=1e-6)
  gradient = jax.grad(loss)(maps)[:, 0, 0]
  assert (np.sign(gradient) == [[-1, 0], [-1, 1], [0, 1]]).all()


def test_devices_share_one_mean():
  errors = jnp.asarray(RNG.random((2, 4, 3, 3)), jnp.float32)
  mask = jnp.asarray(RNG.random(errors.shape) < 0.5)
  maps = jnp.asarray(RNG.random(errors.shape), jnp.float32)
  image = jnp.asarray(RNG.random((4, 3, 3, 1)), jnp.float32)

  def every(errors, mask, maps, image, axis=None):
    return (
      photometric.masked(errors, mask, axis),
      photometric.distillation(maps, errors, [slice(0, 2)], axis),
      photometric.smoothness(maps, image, (1.0, 0.5), axis),
    )

  split = lambda x, at: jnp.stack(jnp.split(x, 2, axis=at))
  shared = jax.vmap(lambda *xs: every(*xs, axis="batch"), axis_name="batch")(
    split(errors, 1), split(mask, 1), split(maps, 1), split(image, 0)
  )
  for one, many in zip(every(errors, mask, maps, image), shared, strict=True):
    np.testing.assert_allclose(many, jnp.broadcast_to(one, (2,)), rtol=1e-5)
