"""Examples of the world: determinism, stereo geometry, keyframes, domains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bicross_jax.sim import camera, domains, event_camera, render, shapes, surface, world
from tests.sim import events_by_hand

HEIGHT, WIDTH, SCENES, INSTANTS = 96, 160, 4, 9
CLEAR = domains.DOMAINS["clear"]
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def _keys(n=SCENES):
  return jnp.stack([jax.random.fold_in(jax.random.key(11), i) for i in range(n)])


def _renderer(name, **options):
  options = dict(height=HEIGHT, width=WIDTH) | options
  sample = functools.partial(world.sample, domain=domains.DOMAINS[name], **options)
  # Many pixels: here optimised code saves more time than it costs.
  return jax.jit(jax.vmap(sample), compiler_options={"xla_backend_optimization_level": 1})


@pytest.fixture(scope="module")
def finely():
  """Clear scenes rendered at all of 9 instants, numpy arrays."""
  return jax.device_get(_renderer("clear", keyframes=INSTANTS)(_keys()))


def _in_range(samples, domain):
  k = samples.radiance.shape[1]
  shape = (len(samples.rgb), HEIGHT, WIDTH)
  assert samples.radiance.shape == (shape[0], k, HEIGHT, WIDTH, 3)
  assert samples.rgb.shape == samples.rgb_right.shape == (*shape, 3)
  assert samples.depth.shape == samples.label.shape == shape
  assert samples.radiance.dtype == samples.depth.dtype == np.float32
  assert samples.rgb.dtype == samples.rgb_right.dtype == samples.label.dtype == np.uint8
  assert np.isfinite(samples.radiance).all()
  assert samples.radiance.min() >= 0 and samples.radiance.max() <= 1
  assert np.isfinite(samples.depth).all()
  known = samples.depth > 0
  assert samples.depth.max() <= render.FAR_LIMIT and samples.depth[known].min() > 0.3
  assert known.mean() > 0.6
  assert set(np.unique(samples.label)) <= {0, 1, 2, 3, 4, 5, 255}
  assert (samples.baseline > 0).all()
  np.testing.assert_allclose(
    samples.intrinsics[0],
    [[domain.rig.focal * WIDTH, 0, 79.5], [0, domain.rig.focal * WIDTH, 47.5], [0, 0, 1]],
    rtol=1e-6,
  )


def test_clear_scenes_are_in_range_and_differ(finely):
  samples = finely
  _in_range(samples, CLEAR)
  assert {0, 1, 3} <= set(np.unique(samples.label))
  for i in range(1, SCENES):
    assert np.mean(samples.label[i] != samples.label[0]) > 0.03
  log = np.log(np.where(samples.depth > 0, samples.depth, render.FAR_LIMIT))
  assert np.mean(np.std(log, 0)) > 0.15  # the per-pixel median depth is no answer


def test_middle_keyframe_is_the_picture(finely):
  """The RGB frame is the middle instant: without noise it would be its sRGB encoding."""
  samples = finely
  light = samples.radiance[:, INSTANTS // 2]
  encoded = np.where(
    light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
  )
  assert np.abs(samples.rgb / 255 - encoded).mean() < 0.01


@pytest.mark.parametrize("keyframes, mean, rare", [(3, 6.5e-4, 0.12), (5, 3.1e-4, 0.08)])
def test_keyframes_interpolate_well(finely, keyframes, mean, rare):
  """Piecewise linear light through K keyframes against rendering every sixteenth step.

  With K = 3 the mean error is some 4e-4 of full well. One spike more or less in a window of 128
  steps stands for 0.013 of full well.
  """
  samples = finely
  light = samples.radiance @ _LUMINANCE
  stride = (INSTANTS - 1) // (keyframes - 1)
  position = np.arange(INSTANTS) / stride
  first = np.minimum(position.astype(int), keyframes - 2)
  weight = (position - first)[:, None, None]
  kept = light[:, ::stride]
  error = np.abs((1 - weight) * kept[:, first] + weight * kept[:, first + 1] - light)
  assert error.mean() < mean
  assert np.quantile(error, 0.999) < rare
  motion = np.abs(light[:, -1] - light[:, 0]).mean()
  assert motion > 1e-3 and error.mean() < 0.2 * motion


def test_disparity_is_focal_times_baseline_over_depth():
  """A point seen on the left lies, on the right, f B / Z further left, or is hidden there.

  Rays of the right camera through exactly those (fractional) places must meet the same depth. A
  point on a silhouette may be missed by rounding; then a ray 0.01 px beside meets it.
  """

  @jax.jit
  def trace(key, u, v):
    scene, motion = world.draw(key, CLEAR)
    matrix = camera.intrinsics(CLEAR.rig, HEIGHT, WIDTH)
    left = camera.pose(motion, 0.0)
    right = camera.beside(left, CLEAR.rig.baseline)

    def depth(pose, u, v):
      a, b = (u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1]
      d = pose.forward + pose.right * a + pose.down * b
      return surface.intersect(scene, pose.position, d)[0]

    z = depth(left, u, v)
    disparity = matrix[0, 0] * CLEAR.rig.baseline / z
    places = ((0, 0), (0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01))
    return z, jnp.stack([depth(right, u - disparity + x, v + y) for x, y in places]), disparity

  rng = np.random.default_rng(0)
  u, v = rng.uniform(40, WIDTH - 1, 2000), rng.uniform(0, HEIGHT - 1, 2000)
  for key in _keys():
    left, right, disparity = (np.asarray(x) for x in trace(key, jnp.float32(u), jnp.float32(v)))
    near = left < render.FAR_LIMIT
    off = 0.6 * WIDTH * 0.54 / right - disparity  # in pixels of disparity
    same = np.abs(off) < 0.1
    assert same[0, near].mean() > 0.9
    hidden = off[0] > 0  # by something nearer
    assert (same.any(0) | hidden)[near].all()
    assert left[near].max() < shapes.FAR


def _warp(right, disparity):
  """right at (u - disparity, v), bilinear: float[H, W, 3]; and where that is inside the image."""
  x = np.arange(WIDTH) - disparity
  inside = (x >= 0) & (x <= WIDTH - 1)
  x = np.clip(x, 0, WIDTH - 1)
  i = np.minimum(x.astype(int), WIDTH - 2)
  w = (x - i)[..., None]
  rows = np.arange(HEIGHT)[:, None]
  return (1 - w) * right[rows, i] + w * right[rows, i + 1], inside


def test_warping_by_disparity_matches_the_pictures_best(finely):
  """Over all scenes the photometric difference is least within 0.1 px of f B / Z."""
  samples = finely
  offsets = np.linspace(-1, 1, 21)
  cost, plain = np.zeros(len(offsets)), 0.0
  for left, right, depth in zip(samples.rgb / 255, samples.rgb_right / 255, samples.depth):
    known = depth > 0
    disparity = np.where(known, 0.6 * WIDTH * 0.54 / np.where(known, depth, 1), 0)
    edge = np.abs(np.diff(disparity, axis=1, prepend=disparity[:, :1])) > 0.5
    use = known & ~edge & (disparity > 1)
    for i, offset in enumerate(offsets):
      warped, inside = _warp(right, disparity + offset)
      cost[i] += np.abs(warped - left).mean(-1)[use & inside].mean() / SCENES
    _, inside = _warp(right, disparity)
    plain += np.abs(right - left).mean(-1)[use & inside].mean() / SCENES
  best = int(np.argmin(cost))
  a, b, c = cost[best - 1 : best + 2]
  vertex = offsets[best] + 0.1 * 0.5 * (a - c) / (a - 2 * b + c)
  assert abs(vertex) < 0.1
  assert cost[10] < 0.5 * plain


def test_an_even_number_of_keyframes_is_refused():
  with pytest.raises(ValueError, match="odd"):
    sample = functools.partial(world.sample, domain=CLEAR, height=8, width=8, keyframes=4)
    jax.eval_shape(sample, jax.random.key(0))


def test_domains_are_named_and_fixed_numbers():
  assert {"clear", "foggy", "rainy", "night", "other_town"} <= set(domains.DOMAINS)
  assert all(name == domain.name for name, domain in domains.DOMAINS.items())
  assert len({hash(domain) for domain in domains.DOMAINS.values()}) == len(domains.DOMAINS)


@pytest.mark.slow
def test_domains_differ_as_their_names_say(finely):
  clear = finely
  seen = {"clear": clear}
  for name in domains.DOMAINS:
    if name != "clear":
      seen[name] = jax.device_get(_renderer(name, keyframes=1)(_keys()))
      _in_range(seen[name], domains.DOMAINS[name])

  def light(name):
    x = seen[name].radiance
    return x[:, x.shape[1] // 2] @ _LUMINANCE

  def contrast(name, near, far):
    """Spread of light among surfaces at a range of depths."""
    depth = seen[name].depth
    return light(name)[(depth > near) & (depth < far)].std()

  assert light("night").mean() < 0.3 * light("clear").mean()
  assert light("rooms_dim").mean() < 0.5 * light("rooms").mean()
  fading = {name: contrast(name, 40, 90) / contrast(name, 3, 12) for name in ("clear", "foggy")}
  assert fading["foggy"] < 0.5 * fading["clear"]

  def colourfulness(name):
    rgb = seen[name].rgb.astype(np.float32)
    return (rgb.max(-1) - rgb.min(-1)).mean()

  assert colourfulness("rainy") < 0.8 * colourfulness("clear")
  np.testing.assert_allclose(seen["rainy"].depth, seen["clear"].depth, rtol=1e-5)  # same places
  assert np.mean(seen["other_town"].depth != seen["clear"].depth) > 0.5
  rooms = seen["rooms"].depth
  assert (rooms > 0).all() and rooms.max() < 12


BINS = 5


@pytest.fixture(scope="module")
def eventful():
  """The first of these scenes: light of the event window, what is sensed, the camera's motion."""

  def one(key):
    seen = world.sample(key, CLEAR, height=HEIGHT, width=WIDTH, bins=BINS)
    sensors = ("events", "depth", "depth_before", "event_image")
    said = world.sense(key, seen, CLEAR, steps=128, sensors=sensors, bins=BINS)
    return seen.event_light, said, world.draw(key, CLEAR)[1]  # the rest is not rendered

  return jax.device_get(jax.jit(one)(_keys(1)[0]))


def test_events_are_those_of_two_sensors_event_by_event(eventful):
  """Counts equal those of single pixels, simulated in float64 from the same light and phases."""
  lights, said, _ = eventful
  events = said["events"]
  assert events.shape == (HEIGHT, WIDTH, BINS, 4) and events.dtype == np.uint8
  some = np.s_[40:52, 60:84]
  times = np.linspace(-world.EVENT_WINDOW, 0, 11)
  keys = jax.random.split(jax.random.fold_in(_keys(1)[0], 4))
  for i, light in enumerate(lights):
    sensor = world.EVENT_SENSOR._replace(pattern_seed=i)
    state = event_camera.start(keys[i], jnp.asarray(light[0]), sensor)
    level, on, off = (np.asarray(x)[some] for x in (state.level, state.on, state.off))
    found = events_by_hand.events(light[(slice(None), *some)], times, level, (on, off), sensor)
    counts = events_by_hand.counts(found, 10, BINS, level.shape)
    assert counts.sum() > 100
    got = events[(*some, slice(None), slice(2 * i, 2 * i + 2))]
    assert np.mean(got != counts) < 1e-3 and abs(int(got.sum()) - counts.sum()) <= 2


def test_the_event_image_is_of_the_left_cameras_counts(eventful):
  _, said, _ = eventful
  on, off = np.moveaxis(said["events"][..., :2].astype(int).sum(2), -1, 0)
  want = np.stack([np.floor(255 * c / c.max()) for c in (off, on)], -1)
  assert said["event_image"].dtype == np.uint8 and on.max() > 1 < off.max()
  np.testing.assert_array_equal(said["event_image"], want)


def test_the_event_window_ends_where_depth_and_pictures_are(eventful, finely):
  light, said, _ = eventful
  assert light.shape == (2, 11, HEIGHT, WIDTH)
  radiance = finely.radiance[0, INSTANTS // 2]
  inside = radiance.max(-1) < 1
  np.testing.assert_allclose(light[0, -1][inside], (radiance @ _LUMINANCE)[inside], atol=1e-4)
  assert np.abs(light[0, 0] - light[0, -1])[inside].mean() > 0.003
  right = np.clip(light[1, -1], 0, 1) ** (1 / 2.2)
  grey = (finely.rgb_right[0] / 255) @ _LUMINANCE
  assert np.corrcoef(right.ravel(), grey.ravel())[0, 1] > 0.98
  np.testing.assert_allclose(said["depth"], finely.depth[0], rtol=1e-5)


def test_depth_before_is_that_of_the_windows_begin(eventful):
  """A point seen at its begin is, at its end, where the camera's motion says."""
  _, said, motion = eventful
  v, u = np.mgrid[:HEIGHT, :WIDTH]
  matrix = np.asarray(camera.intrinsics(CLEAR.rig, HEIGHT, WIDTH), np.float64)
  pixel = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(matrix).T
  poses = [camera.pose(motion, time) for time in (-world.EVENT_WINDOW, 0.0)]
  (was, before), (now, after) = [
    (np.array(p.position), np.array([p.right, p.down, p.forward])) for p in poses
  ]
  points = (pixel * said["depth_before"][..., None]) @ before + was
  x, y, z = np.moveaxis(((points - now) @ after.T) @ matrix.T, -1, 0)
  with np.errstate(divide="ignore", invalid="ignore"):
    column, row = np.round(x / z), np.round(y / z)
  near = (said["depth_before"] > 0) & (z > 0.3)
  near &= (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
  found = said["depth"][row[near].astype(int), column[near].astype(int)]
  error = np.abs(found - z[near]) / z[near]
  assert near.mean() > 0.5 and np.median(error) < 0.01 and np.mean(error < 0.05) > 0.9
  assert np.abs(said["depth"] - said["depth_before"])[near].mean() > 0.05


def test_events_come_from_edges_and_differ_by_disparity(eventful):
  _, said, _ = eventful
  depth, total = said["depth"], said["events"].sum(2).astype(float)
  left, right = total[..., :2], total[..., 2:]
  assert 0.05 < (left.sum(-1) > 0).mean() < 0.8
  sky = ndimage.minimum_filter(depth == 0, 9)
  assert left[sky].sum(-1).mean() < 0.05 < 0.2 < left.sum(-1).mean()  # a shimmer and the leak
  known = depth > 0
  disparity = np.where(known, 0.6 * WIDTH * 0.54 / np.where(known, depth, 1), 0)
  warped, inside = _warp(right, disparity)
  use = inside & known & (disparity > 1)

  def alike(a, b):
    return np.corrcoef(a[use].ravel(), b[use].ravel())[0, 1]

  assert alike(left, warped) > alike(left, right) + 0.1


def test_ten_intervals_are_enough(eventful):
  """Half as many change counts by less than another phase of the pixels does.

  Measured on 6 scenes with 60 intervals as the truth: 10 intervals 0.12 events a pixel and polarity
  apart, 5 intervals 0.15, 1 interval 0.23; another phase 0.18. On average there are 0.5.
  """
  (light, _), _, _ = eventful
  counts = jax.jit(event_camera.counts, static_argnums=(2, 3))
  one, other = (key for key in _keys(2))
  finest, coarse, phase = (
    counts(key, light[::step], 0.05, 1).astype(float)
    for key, step in ((one, 1), (one, 2), (other, 1))
  )
  assert np.abs(coarse - finest).mean() < np.abs(phase - finest).mean()


def test_light_of_events_is_rendered_only_where_it_is_asked_for():
  sample = functools.partial(world.sample, domain=CLEAR, height=8, width=8)
  plain = jax.eval_shape(sample, jax.random.key(0))
  assert plain.event_light is None and plain.depth_before is None
  assert world.bins_of(("rgb", "depth"), 3) == 0 and world.bins_of(("events",), 3) == 3
  assert world.bins_of(("event_image",), 3) == 3
  assert [world.event_frames(bins) for bins in (1, 3, 5, 16)] == [11, 13, 11, 17]
