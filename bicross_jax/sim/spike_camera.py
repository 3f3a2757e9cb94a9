"""The spike camera: every pixel integrates light and fires (docs/systems/bicross.md).

In each step of 1/20000 s a pixel gathers the charge

  q = gain * pixel_gain * light + dark_current          (+ shot noise of variance shot_noise * q)

on its potential. A potential that has reached the threshold fires: one spike, and the threshold
is subtracted, so the residue stays. The mean firing rate is therefore q / threshold, at most one.
The light is linear (not sRGB), 1 at full well. Everything here is a pure function of arrays; a
`Sensor` is an ordinary pytree of numbers, so its fields may be traced, mapped or drawn at random.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax.ops import spikes

READOUT_RATE = 20_000.0  # steps a second of the hardware
_REC709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
_STEPS_A_BYTE = 8


class Sensor(NamedTuple):
  """A spike sensor. The unit of charge is arbitrary; only ratios to the threshold matter.

  The defaults (a noiseless sensor on which white fires every second step) are those of the
  public simulators: gain 1 and threshold 2, started at a random phase.

  Attributes:
    gain: charge that full-well light (1.0) brings in one step. Above the threshold a pixel
      cannot keep up: it fires at every step and its charge grows.
    threshold: charge at which a pixel fires, and which the spike takes away.
    random_phase: whether the potentials start uniformly in [0, threshold); else at zero.
    shot_noise: charge of one photoelectron; a step's charge q varies with variance
      shot_noise * q (normal, as for many electrons). 0 switches it off; real sensors gather about
      1e5 electrons per threshold, that is 2e-5 with threshold 2.
    dark_current: charge gathered in one step without any light.
    fixed_pattern: standard deviation of the pixels' relative gain; 0 switches it off.
    pattern_seed: which sensor this is: the pixels' gains are drawn from it, not from the key of
      the stream, so one sensor has one pattern in all its streams.
  """

  gain: float = 1.0
  threshold: float = 2.0
  random_phase: bool = True
  shot_noise: float = 0.0
  dark_current: float = 0.0
  fixed_pattern: float = 0.0
  pattern_seed: int = 0


def srgb_to_linear(x):
  """Light from sRGB values: float32[...] in 0..1 -> float32[...] in 0..1 (IEC 61966-2-1)."""
  return jnp.where(x <= 0.04045, x / 12.92, ((jnp.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(x):
  """sRGB values from light, the inverse of `srgb_to_linear`: float32[...] -> float32[...]."""
  return jnp.where(
    x <= 0.0031308, x * 12.92, 1.055 * jnp.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055
  )


def luminance(rgb):
  """Luminance of linear light (Rec. 709 weights): float32[..., 3] -> float32[...]."""
  if rgb.shape[-1] != 3:
    raise ValueError(f"luminance takes [..., 3], not {rgb.shape}")
  return jnp.einsum("...c,c->...", rgb, _REC709, precision=jax.lax.Precision.HIGHEST)


def light(rgb):
  """What a sensor sees of an sRGB image: uint8[..., 3] -> linear luminance float32[...], 0..1."""
  return luminance(srgb_to_linear(rgb.astype(jnp.float32) / 255))


def initial_charge(key, shape: tuple[int, int], sensor: Sensor = Sensor()):
  """The potentials at the start of a stream: float32[H, W] in [0, threshold)."""
  phase = jax.random.uniform(jax.random.fold_in(key, 0), shape) * sensor.threshold
  return jnp.where(sensor.random_phase, phase, 0.0)


def pixel_gain(shape: tuple[int, int], sensor: Sensor = Sensor()):
  """The pixels' relative gains (fixed-pattern noise): float32[H, W], mean 1, never negative."""
  pattern = jax.random.normal(jax.random.key(sensor.pattern_seed), shape)
  return jnp.maximum(1.0 + sensor.fixed_pattern * pattern, 0.0)


def integrate(key, charge, frames, position, sensor: Sensor = Sensor(), first_step=0):
  """Runs the sensor for some steps on from given potentials; the streaming form of `simulate`.

  A stream may be cut into pieces anywhere (at multiples of 8 steps): with the same key, and
  `first_step` counted from the stream's start, the pieces equal the whole bit for bit.

  Args:
    key: PRNG key of the stream.
    charge: float32[H, W], potentials before the first step.
    frames: float32[K, H, W], linear luminance of keyframes.
    position: float32[S], where the light of each step lies on the axis of keyframes: 1.25 is a
      blend of 3/4 of frame 1 and 1/4 of frame 2. Held at both ends. S is a multiple of 8.
    sensor: the sensor.
    first_step: int, the number of steps before this piece; a multiple of 8.

  Returns:
    (packed uint8[H, W, S/8], charge float32[H, W] after the last step).
  """
  (steps,) = position.shape
  if frames.ndim != 3 or charge.shape != frames.shape[1:] or not frames.shape[0]:
    raise ValueError(f"frames {frames.shape} do not fit potentials {charge.shape}")
  if not steps or steps % _STEPS_A_BYTE:
    raise ValueError(f"{steps} steps are not a multiple of 8")
  frames = jnp.asarray(frames, jnp.float32)
  last = frames.shape[0] - 1
  position = jnp.clip(jnp.asarray(position, jnp.float32), 0, last)
  index = jnp.minimum(position.astype(jnp.int32), max(last - 1, 0))
  weight = position - index.astype(jnp.float32)
  byte = jnp.asarray(first_step, jnp.int32) // _STEPS_A_BYTE
  byte = byte + jnp.arange(steps // _STEPS_A_BYTE, dtype=jnp.int32)
  response = jnp.asarray(sensor.gain * pixel_gain(charge.shape, sensor), jnp.float32)
  noise_key = jax.random.fold_in(key, 1)

  def eight_steps(charge, xs):
    byte, index, weight = xs
    noise = jax.lax.cond(
      jnp.asarray(sensor.shot_noise) > 0,
      lambda: _noise_bits(jax.random.fold_in(noise_key, byte), charge.shape),
      lambda: jnp.full((4, *charge.shape), 0x00FF00FF, jnp.uint32),
    )

    def step(i, carry):
      charge, out = carry
      before = jax.lax.dynamic_index_in_dim(frames, index[i], keepdims=False)
      after = jax.lax.dynamic_index_in_dim(frames, jnp.minimum(index[i] + 1, last), keepdims=False)
      q = response * (before + weight[i] * (after - before)) + sensor.dark_current
      spread = jnp.sqrt(jnp.maximum(sensor.shot_noise * q, 0.0))
      charge = charge + q + spread * _normal(noise, i)
      fired = charge >= sensor.threshold
      charge = charge - jnp.where(fired, jnp.asarray(sensor.threshold, jnp.float32), 0.0)
      return charge, out | (fired.astype(jnp.uint8) << i.astype(jnp.uint8))

    return jax.lax.fori_loop(0, _STEPS_A_BYTE, step, (charge, jnp.zeros(charge.shape, jnp.uint8)))

  xs = (byte, index.reshape(-1, _STEPS_A_BYTE), weight.reshape(-1, _STEPS_A_BYTE))
  charge, packed = jax.lax.scan(eight_steps, jnp.asarray(charge, jnp.float32), xs)
  return jnp.moveaxis(packed, 0, -1), charge


def simulate(key, frames, steps: int = 128, sensor: Sensor = Sensor()):
  """The spike stream of a short window.

  The light is piecewise linear through the keyframes, which are equally spaced from the
  window's start (the first) to its end (the last); a step gets the light of its middle. One
  keyframe is a scene at rest.

  Args:
    key: PRNG key: initial phase and shot noise.
    frames: float32[K, H, W], linear luminance in 0..1 (1 = full well), K >= 1.
    steps: T, a multiple of 8.
    sensor: the sensor.

  Returns:
    uint8[H, W, T/8], packed along time.
  """
  position = (np.arange(steps, dtype=np.float32) + 0.5) / steps * (frames.shape[0] - 1)
  charge = initial_charge(key, frames.shape[1:], sensor)
  return integrate(key, charge, frames, position, sensor)[0]


def texture_from_playback(packed, start: int, length: int, sensor: Sensor = Sensor()):
  """An image from the number of spikes in a window.

  Args:
    packed: uint8[..., T/8].
    start, length: the window, in steps.
    sensor: the sensor that made the stream.

  Returns:
    float32[...], linear luminance.
  """
  return _light_of(spikes.window_count(packed, start, length) / length, sensor)


def texture_from_interval(packed, step: int, sensor: Sensor = Sensor()):
  """An image from the interval between two spikes, sharp in time where light is plenty.

  The interval runs from the last spike at or before `step` to the first one after it. A
  pixel that lacks one of them within the stream is shown as dark (0).

  Args:
    packed: uint8[..., T/8].
    step: the moment, 0 .. T - 1.
    sensor: the sensor that made the stream.

  Returns:
    float32[...], linear luminance.
  """
  fired = jnp.asarray(spikes.bits(packed))
  steps = fired.shape[-1]
  if not 0 <= step < steps:
    raise ValueError(f"step {step} is not inside a stream of {steps}")
  before = jnp.argmax(fired[..., step::-1], axis=-1)  # steps back to the spike
  after = 1 + jnp.argmax(fired[..., step + 1 :], axis=-1) if step + 1 < steps else before + 1
  whole = jnp.any(fired[..., : step + 1] > 0, axis=-1) & jnp.any(
    fired[..., step + 1 :] > 0, axis=-1
  )
  return _light_of(jnp.where(whole, 1.0 / (before + after).astype(jnp.float32), 0.0), sensor)


def _light_of(rate, sensor):
  """Linear luminance from a firing rate in spikes a step."""
  return jnp.maximum(rate * sensor.threshold - sensor.dark_current, 0.0) / sensor.gain


def _noise_bits(key, shape):
  """Random bits for the shot noise of eight steps, 16 for each: uint32[4, H, W]."""
  return jax.random.bits(key, (4, *shape), jnp.uint32)


def _normal(words, step):
  """Nearly normal numbers, mean 0 and variance 1: 16 fair coins each, half a word of `words`.

  Charge adds up over many steps before and between spikes, so what reaches the spikes is normal;
  this costs a tenth of exact normal numbers. 8 coins of 16 give exactly zero.
  """
  word = jax.lax.dynamic_index_in_dim(words, step // 2, keepdims=False)
  half = (word >> (16 * (step % 2)).astype(jnp.uint32)) & np.uint32(0xFFFF)
  return (jax.lax.population_count(half).astype(jnp.float32) - 8) * 0.5
