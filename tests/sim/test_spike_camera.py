"""The spike camera against its closed form, its noise statistics, and real recordings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.data.formats import image
from bicross_jax.data.formats import spikes as files
from bicross_jax.ops import spikes
from bicross_jax.sim import spike_camera as camera

KEY = jax.random.key(3)
QUIET = camera.Sensor(random_phase=False)
simulate = jax.jit(camera.simulate, static_argnames="steps")
integrate = jax.jit(camera.integrate)
interval_texture = jax.jit(camera.texture_from_interval, static_argnames="step")


def _light(shape=(1, 24, 40), seed=0):
  return np.random.default_rng(seed).random(shape).astype(np.float32)


def test_count_is_the_closed_form():
  light = np.linspace(0, 1, 257, dtype=np.float32).reshape(1, 1, -1)  # multiples of 1/256: exact
  for gain, threshold in ((1.0, 2.0), (0.5, 1.0), (1.0, 1.0), (0.25, 2.0)):
    packed = simulate(KEY, light, 128, camera.Sensor(gain, threshold, random_phase=False))
    for steps in (8, 64, 128):
      counts = spikes.window_count(packed, 0, steps)
      np.testing.assert_array_equal(counts, np.floor(steps * gain * light[0] / threshold))


def test_count_with_phase_is_the_closed_form():
  sensor = camera.Sensor()
  light = _light()
  phase = np.asarray(camera.initial_charge(KEY, (24, 40), sensor), np.float64)
  total = (phase + 128 * light[0].astype(np.float64)) / sensor.threshold
  clear = np.abs(total - np.round(total)) > 1e-3  # float32 may round the others either way
  counts = np.asarray(spikes.window_count(simulate(KEY, light, 128, sensor), 0, 128))
  assert clear.mean() > 0.99
  np.testing.assert_array_equal(counts[clear], np.floor(total)[clear])


def test_white_fires_every_second_step():
  packed = simulate(KEY, np.ones((1, 2, 3), np.float32), 16, QUIET)
  np.testing.assert_array_equal(spikes.bits(np.asarray(packed)), np.tile([0, 1], (2, 3, 8)))


def test_saturated_pixel_fires_every_step():
  packed = simulate(KEY, np.ones((1, 2, 3), np.float32), 16, camera.Sensor(2.0, 2.0))
  np.testing.assert_array_equal(spikes.rate(packed), np.ones((2, 3)))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_charge_is_conserved_through_keyframes(count):
  light = _light((count, 24, 40))
  phase = camera.initial_charge(KEY, (24, 40))
  position = (np.arange(128) + 0.5) / 128 * (count - 1)
  packed, residue = integrate(KEY, phase, light, position)
  # The integral of a piecewise linear light, by the trapezoidal rule (exact).
  integral = 128 * (light[0] if count == 1 else np.trapezoid(light, dx=1 / (count - 1), axis=0))
  # No step has a keyframe inside (they fall on borders of steps), so the midpoints are exact.
  np.testing.assert_allclose(
    spikes.window_count(packed, 0, 128) * 2.0 + residue - phase, integral, atol=1e-4
  )
  assert (np.asarray(residue) >= 0).all() and (np.asarray(residue) < 2).all()


def test_stream_follows_the_light_in_time():
  light = np.stack([np.zeros((1, 1)), np.ones((1, 1))]).astype(np.float32)
  counts = np.asarray(spikes.bin_counts(simulate(KEY, light, 1024, QUIET), 8))[0, 0]
  expected = np.diff(np.floor(1024 * np.linspace(0, 1, 9) ** 2 / 2 / 2))
  np.testing.assert_allclose(counts, expected, atol=1)


def test_pieces_equal_the_whole_bit_for_bit():
  sensor = camera.Sensor(shot_noise=0.02, fixed_pattern=0.05, dark_current=0.01)
  light, position = _light((4, 24, 40)), np.linspace(0, 3, 96).astype(np.float32)
  start = camera.initial_charge(KEY, (24, 40), sensor)
  whole, end = integrate(KEY, start, light, position, sensor)
  parts, charge, at = [], start, 0
  for length in (48, 48):
    part, charge = integrate(KEY, charge, light, position[at : at + length], sensor, at)
    parts.append(part)
    at += length
  np.testing.assert_array_equal(np.concatenate(parts, -1), whole)
  np.testing.assert_array_equal(charge, end)


def test_vmap_equals_one_by_one_and_keys_matter():
  sensor = camera.Sensor(shot_noise=0.02)
  light, keys = _light((3, 2, 24, 40)), jax.random.split(KEY, 3)
  many = jax.jit(jax.vmap(lambda k, x: camera.simulate(k, x, 64, sensor)))(keys, light)
  for i in range(3):
    np.testing.assert_array_equal(many[i], simulate(keys[i], light[i], 64, sensor))
  assert (np.asarray(simulate(keys[0], light[1], 64, sensor)) != many[1]).any()


def test_sensor_fields_may_be_mapped():
  gains = jnp.array([0.5, 1.0])
  light = np.ones((1, 2, 2), np.float32)
  run = lambda gain: camera.simulate(KEY, light, 64, QUIET._replace(gain=gain))
  packed = jax.jit(jax.vmap(run))(gains)
  np.testing.assert_array_equal(spikes.window_count(packed, 0, 64)[:, 0, 0], [16, 32])


def test_random_phase_is_uniform():
  phase = np.asarray(camera.initial_charge(KEY, (200, 200), camera.Sensor(threshold=3.0)))
  assert phase.min() >= 0 and phase.max() < 3
  np.testing.assert_allclose([phase.mean(), phase.var()], [1.5, 9 / 12], rtol=0.02)
  assert not np.asarray(camera.initial_charge(KEY, (4, 4), QUIET)).any()


def test_shot_noise_has_the_variance_of_photons():
  light = np.full((1, 200, 200), 0.5, np.float32)
  sensor = QUIET._replace(shot_noise=0.05, dark_current=0.1)
  packed, residue = integrate(
    KEY, np.zeros((200, 200), np.float32), light, np.zeros(64, np.float32), sensor
  )
  total = np.asarray(spikes.window_count(packed, 0, 64) * 2 + residue)
  mean = 64 * (0.5 + 0.1)
  np.testing.assert_allclose(total.mean(), mean, rtol=0.001)
  np.testing.assert_allclose(total.var(), 0.05 * mean, rtol=0.03)
  # Neighbouring pixels and following steps draw independently.
  deviation = total - total.mean()
  assert abs((deviation[:, 1:] * deviation[:, :-1]).mean()) < 0.03 * total.var()


def test_shot_noise_of_following_steps_is_independent():
  run = lambda charge, first: integrate(
    KEY,
    charge,
    np.ones((1, 100, 100), np.float32),
    np.zeros(8, np.float32),
    camera.Sensor(threshold=1e9, shot_noise=0.05),
    first,
  )[1]
  first = run(np.zeros((100, 100), np.float32), 0)
  second = run(first, 8) - first
  np.testing.assert_allclose(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1], 0, atol=0.03)


def test_dark_current_fires_without_light():
  dark = np.zeros((1, 3, 3), np.float32)
  counts = spikes.window_count(simulate(KEY, dark, 128, QUIET._replace(dark_current=0.125)), 0, 128)
  np.testing.assert_array_equal(counts, np.full((3, 3), 8))
  assert not np.asarray(simulate(KEY, dark, 128, QUIET)).any()


def test_fixed_pattern_is_fixed_and_has_its_spread():
  sensor = QUIET._replace(fixed_pattern=0.1)
  light = np.full((1, 150, 150), 0.5, np.float32)
  first = np.asarray(spikes.rate(simulate(KEY, light, 512, sensor))) * 2
  second = np.asarray(spikes.rate(simulate(jax.random.key(9), light, 512, sensor))) * 2
  other = spikes.rate(simulate(KEY, light, 512, sensor._replace(pattern_seed=1))) * 2
  np.testing.assert_allclose([first.mean(), first.std()], [0.5, 0.05], rtol=0.03)
  np.testing.assert_array_equal(first, second)
  assert abs(np.corrcoef(first.ravel(), np.ravel(other))[0, 1]) < 0.05


def test_playback_texture_is_the_light():
  light = _light((1, 24, 40))
  sensor = camera.Sensor(gain=0.8, dark_current=0.1)
  texture = camera.texture_from_playback(simulate(KEY, light, 512, sensor), 0, 512, sensor)
  # Counting spikes loses at most one spike of charge.
  np.testing.assert_allclose(texture, light[0], atol=2.0 / 512 / 0.8 + 1e-5)


def test_interval_texture_is_the_light_where_an_interval_fits():
  light = np.linspace(0.05, 1, 200, dtype=np.float32).reshape(1, 10, 20)
  packed = simulate(KEY, light, 256, camera.Sensor())
  for step in (100, 127):
    texture = np.asarray(interval_texture(packed, step))
    bits = spikes.bits(np.asarray(packed))
    for y, x in ((0, 0), (5, 7), (9, 19)):
      fired = np.flatnonzero(bits[y, x])
      interval = fired[fired > step].min() - fired[fired <= step].max()
      np.testing.assert_allclose(texture[y, x], 2.0 / interval, rtol=1e-6)
    # An interval of n steps means a light between 2/(n+1) and 2/(n-1).
    interval = 2 / texture
    assert (light[0] < 2 / np.maximum(interval - 1, 1e-3) + 1e-4).all()
    assert (light[0] > 2 / (interval + 1) - 1e-4).all()


def test_interval_texture_is_dark_without_an_interval():
  packed = simulate(KEY, np.full((1, 2, 2), 0.001, np.float32), 64, QUIET)
  np.testing.assert_array_equal(interval_texture(packed, 10), np.zeros((2, 2)))
  bright = simulate(KEY, np.ones((1, 2, 2), np.float32), 64, QUIET)
  np.testing.assert_array_equal(interval_texture(bright, 63), np.zeros((2, 2)))


def test_srgb_and_luminance():
  x = np.linspace(0, 1, 256, dtype=np.float32)
  np.testing.assert_allclose(camera.linear_to_srgb(camera.srgb_to_linear(x)), x, atol=1e-6)
  np.testing.assert_allclose(
    camera.srgb_to_linear(np.float32([0.0, 0.04, 0.5, 1.0])),
    [0, 0.04 / 12.92, 0.21404114, 1],
    atol=1e-6,
  )
  np.testing.assert_allclose(
    camera.luminance(np.eye(3, dtype=np.float32)), [0.2126, 0.7152, 0.0722], rtol=1e-6
  )
  np.testing.assert_allclose(camera.light(np.full((2, 2, 3), 255, np.uint8)), 1, rtol=1e-6)
  assert np.isfinite(jax.grad(camera.srgb_to_linear)(0.0))


def test_wrong_shapes_are_refused():
  with pytest.raises(ValueError, match="multiple of 8"):
    camera.simulate(KEY, _light(), 100)
  with pytest.raises(ValueError, match="do not fit"):
    camera.integrate(KEY, np.zeros((3, 3), np.float32), _light(), np.zeros(8, np.float32))


@pytest.mark.parametrize(
  "part,name,mean,correlation",
  [("train", "203_part2", 0.2081, 0.969), ("test", "200_part1", 0.2877, 0.987)],
)
def test_simulated_camera_files_show_their_scene(samples, part, name, mean, correlation):
  folder = samples / "spike_reds" / part
  stream = files.read_dat(folder / "spike" / f"{name}_key_id151.dat", 250, 400)
  truth = image.read_grey(folder / "gt" / f"{name}_key_id151.png").astype(np.float64)
  assert stream.shape == (301, 250, 400)
  np.testing.assert_allclose(stream.mean(), mean, atol=5e-5)
  packed = files.pack_time(stream[:296])
  playback = np.asarray(camera.texture_from_playback(packed, 135, 31))
  np.testing.assert_allclose(
    np.corrcoef(playback.ravel(), truth.ravel())[0, 1], correlation, atol=6e-4
  )
  interval = np.asarray(interval_texture(packed, 150))
  assert np.corrcoef(interval.ravel(), truth.ravel())[0, 1] > 0.85


def test_real_camera_sees_a_scene_at_rest(samples):
  stream = files.read_npz(samples / "spike_real" / "real_spike.npz")
  assert stream.shape == (300, 250, 400)
  np.testing.assert_allclose(stream.mean(), 0.2200, atol=5e-5)
  packed = files.pack_time(stream[:296])
  first, second = (
    np.asarray(camera.texture_from_playback(packed, start, 148)) for start in (0, 148)
  )
  np.testing.assert_allclose(first.mean(), second.mean(), rtol=1e-3)
  assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.99
