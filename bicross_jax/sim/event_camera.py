"""The event camera: every pixel tells when its log intensity has changed by a threshold.

A pixel remembers a level. Where log(light + DARK) has risen above it by `threshold_on`, or fallen below it by
`threshold_off`, the level follows by that much and an event tells so (Lichtsteiner et al. 2008).
Between two frames log intensity is taken to move linearly in time, so every crossing has its exact
moment (ESIM, Rebecq et al. 2018). After an event a pixel is blind for the refractory period: crossings
move its level, but are not told (as in ESIM). The level sinks slowly, which makes ON events without
any change (leak, Hu et al. 2021, v2e). Light is linear, 1 at full well.

Between two frames a pixel's crossings are equally spaced, so those that are told are too: `between`
gives the first, the spacing and their number, without a loop over events.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

DARK = 1e-3  # light that is added before the logarithm, of full well
_EXACT = 1e-4  # of a threshold; a level that is reached but for rounding is reached


class Sensor(NamedTuple):
  """An event sensor.

  Attributes:
    threshold_on, threshold_off: change of log intensity that makes an event.
    mismatch: standard deviation of the pixels' thresholds, in log intensity; they are at least a
      tenth of the nominal ones.
    refractory: seconds for which a pixel is blind after an event.
    leak: ON events a second of a pixel that sees no change.
    random_phase: whether levels start anywhere between the thresholds; else at the first frame.
    pattern_seed: which sensor this is: the pixels' thresholds are drawn from it.
  """

  threshold_on: float = 0.2
  threshold_off: float = 0.2
  mismatch: float = 0.03
  refractory: float = 1e-3
  leak: float = 0.1
  random_phase: bool = True
  pattern_seed: int = 0


class State(NamedTuple):
  """What a sensor remembers between two frames.

  Attributes:
    level: float32[H, W], log intensity.
    last: float32[H, W], seconds from the coming interval's begin back to each pixel's last event,
      not positive; -inf where there was none.
    on, off: float32[H, W], the pixels' thresholds, which stay.
  """

  level: jax.Array
  last: jax.Array
  on: jax.Array
  off: jax.Array


class Told(NamedTuple):
  """The events between two frames: those of a pixel are equally spaced, and all of one polarity.

  Attributes:
    count: int32[H, W].
    first: float32[H, W], seconds after the first frame.
    spacing: float32[H, W], seconds.
    on: bool[H, W].
  """

  count: jax.Array
  first: jax.Array
  spacing: jax.Array
  on: jax.Array


def thresholds(shape: tuple[int, int], sensor: Sensor) -> tuple[jax.Array, jax.Array]:
  """The pixels' own thresholds, ON and OFF: float32[H, W] each."""
  noise = jax.random.normal(jax.random.key(sensor.pattern_seed), (2, *shape))
  nominal = (sensor.threshold_on, sensor.threshold_off)
  on, off = (jnp.maximum(t + sensor.mismatch * n, 0.1 * t) for t, n in zip(nominal, noise))
  return on, off


def start(key: jax.Array, light: jax.Array, sensor: Sensor = Sensor()) -> State:
  """A sensor at rest before a frame float32[H, W]; the key draws its phase."""
  on, off = thresholds(light.shape, sensor)
  phase = jax.random.uniform(key, light.shape, minval=_EXACT, maxval=1 - _EXACT)
  phase = jnp.where(sensor.random_phase, phase * (on + off) - on, 0.0)
  return State(_log(light) + phase, jnp.full(light.shape, -jnp.inf, jnp.float32), on, off)


def between(
  state: State, before: jax.Array, after: jax.Array, seconds, sensor: Sensor = Sensor()
) -> tuple[Told, State]:
  """The events between two frames.

  Args:
    state: of the sensor, at the first of them.
    before, after: float32[H, W], light.
    seconds: from one to the other, more than 0.
    sensor: the sensor.

  Returns:
    (the events, the state at the second frame).
  """
  sinks = sensor.leak * state.on * seconds  # how far the level sinks, seen as a rise of the light
  low, high = _log(before), _log(after) + sinks
  rises = high > low
  threshold = jnp.where(rises, state.on, state.off)
  sign = jnp.where(rises, 1.0, -1.0)
  crossed = _whole(jnp.floor(sign * (high - state.level) / threshold + _EXACT), 0)
  slope = jnp.maximum(jnp.abs(high - low), 1e-12) / seconds
  spacing = threshold / slope
  begin = (sign * (state.level - low) + threshold) / slope  # of the first crossing
  begin = jnp.clip(begin, 0.0, seconds)
  blind = state.last + sensor.refractory  # until then
  skipped = _whole(jnp.ceil((blind - begin) / spacing - _EXACT), 0)
  every = _whole(jnp.ceil(sensor.refractory / spacing - _EXACT), 1)
  left = crossed - skipped
  count = jnp.where(left > 0, (left - 1) // every + 1, 0)
  first, apart = begin + skipped * spacing, every * spacing
  last = jnp.where(count > 0, first + (count - 1) * apart, state.last)
  last = jnp.minimum(last, seconds) - seconds
  level = state.level + sign * crossed * threshold - sinks
  return Told(count, first, apart, rises), state._replace(level=level, last=last)


def counts(
  key: jax.Array, frames: jax.Array, seconds: float, bins: int, sensor: Sensor = Sensor()
) -> jax.Array:
  """Event counts of a window.

  Args:
    key: PRNG key, of the phase.
    frames: float32[K, H, W], light at equally spaced moments from the window's begin to its end.
    seconds: length of the window.
    bins: T, which divides K - 1.
    sensor: the sensor.

  Returns:
    uint8[H, W, T, 2]: ON, OFF; 255 is that or more.
  """
  intervals = len(frames) - 1
  if frames.ndim != 3 or intervals < 1 or intervals % bins:
    raise ValueError(f"{bins} bins do not divide the intervals of frames {frames.shape}")

  def one(state, pair):
    told, state = between(state, *pair, seconds / intervals, sensor)
    both = jnp.stack([told.on, ~told.on], axis=-1)
    return state, jnp.where(both, told.count[..., None], 0)

  each = jax.lax.scan(one, start(key, frames[0], sensor), (frames[:-1], frames[1:]))[1]
  total = each.reshape(bins, intervals // bins, *each.shape[1:]).sum(1)
  return jnp.minimum(total, 255).astype(jnp.uint8).transpose(1, 2, 0, 3)


def _whole(number, least):
  """Whole numbers as int32, within what that holds."""
  return jnp.clip(number, least, 1e9).astype(jnp.int32)


def _log(light):
  return jnp.log(light + DARK)
