"""The synthetic world as a data set: which fields it has, and what of a config makes them.

A set without sequences has one scene an example. With `sequence` n each scene is seen n times,
`1 / rate(...)` seconds apart, by a camera that drives through it (`sim.drive`): a recording of n
windows. Windows of events follow each other without a gap.
"""

from collections.abc import Iterator, Mapping
from typing import Any
import zlib

import jax
import numpy as np

from bicross_jax import errors
from bicross_jax.data import depth_hints
from bicross_jax.data.dataset import PARTS, DataSet, Stored
from bicross_jax.sim import domains, drive, world
from bicross_jax.sim.world import COUNTED, DEFAULT, EVENT_WINDOW

FPS = 10.0  # windows a second of a sequence without events
HINT, PAIR = "depth_hint", ("rgb", "rgb_right")  # a field made on the host, and what of
SENSORS = (*world.SENSORS, HINT)


class World(DataSet):
  """Scenes of a domain, seen by a colour stereo pair and a spike camera."""

  name = "world"
  domains = tuple(domains.DOMAINS)
  drives = True

  def check(self, config: Any, section: str) -> None:
    """Raises errors.UserError for sizes or sensors that cannot be; see `DataSet.check`."""
    wrong = [name for name in config.get("sensors", ()) if name not in SENSORS]
    if wrong:
      raise errors.UserError(
        f"the world has no sensor {wrong[0]!r} (config.{section}.sensors): choose from "
        f"{', '.join(SENSORS)}"
      )
    if config.steps % 8 or config.steps < 8:
      raise errors.UserError(
        f"a spike stream has a multiple of 8 steps, not config.{section}.steps={config.steps}"
      )
    for part in PARTS:
      if config[part] < 1:
        raise errors.UserError(
          f"config.{section}.{part}={config[part]}: the world needs at least 1 example to {part}"
        )
    if config.get("cameras", 2) != 2:
      raise errors.UserError(
        f"config.{section}.cameras={config.cameras}: the world has two event cameras; a network sees "
        "one of them with config.input.cameras=1"
      )
    if HINT in config.get("sensors", ()) and config.width < depth_hints.NARROWEST:
      raise errors.UserError(
        f"{HINT} needs images at least {depth_hints.NARROWEST} wide, not "
        f"config.{section}.width={config.width}"
      )
    longest = int(drive.LENGTH * rate(_sensors(config)))
    if config.get("sequence", 0) > longest:
      raise errors.UserError(
        f"config.{section}.sequence={config.sequence}: a scene of the world lasts {longest} windows"
      )

  def fields(self, config: Any) -> Mapping[str, Stored]:
    """Those of the chosen sensors, or of `DEFAULT`; see `DataSet.fields`."""
    every = stored(config.height, config.width, config.steps, config.get("bins", 1))
    return {name: every[name] for name in _sensors(config)}

  def build(self, config: Any, section: str, part: str) -> Any:
    """The builder of all parts; see `DataSet.build`."""
    del section, part
    from bicross_jax.data.builders import storage, world  # TensorFlow is needed from here on

    parameters = {name: config[name] for name in ("domain", "height", "width", "steps", *PARTS)}
    parameters["sensors"] = _sensors(config)
    parameters["seed"] = config.get("scenes", 0)
    parameters["baseline"] = config.get("baseline", 0.0)
    parameters["windows"] = max(1, config.get("sequence", 0))
    if set(COUNTED) & set(parameters["sensors"]):
      parameters["bins"] = config.get("bins", 1)
    return storage.prepare(
      world.World, world.WorldConfig(**parameters), storage.root(config.data_dir)
    )

  def camera(self, config: Any) -> tuple[float, float]:
    """That of the domain's rig; see `DataSet.camera`."""
    rig = _domain(config).rig
    return rig.focal, rig.baseline

  def drive(self, config: Any, count: int, fps: float) -> Iterator[dict[str, np.ndarray]]:
    """A drive through scenes, the same in all domains; see `DataSet.drive`."""
    sensors, domain = _sensors(config), _domain(config)
    frames = drive.frames(
      jax.random.fold_in(jax.random.key(0), zlib.crc32(b"drive")),
      domain,
      count,
      height=config.height,
      width=config.width,
      steps=config.steps,
      fps=fps,
      sensors=rendered(sensors),
      bins=config.get("bins", 1),
    )
    for i, frame in enumerate(frames):
      key = f"{config.domain}, drive, {i / fps:.1f} s"
      fields = completed(frame, domain, sensors)
      yield {"key": key, "reset": np.bool_(drive.begins(i, fps)), **fields}


def domain_of(name: str, baseline: float = 0.0) -> domains.Domain:
  """A domain of the world by its name; its stereo pairs are `baseline` metres apart, or as its rig has them (0)."""
  domain = domains.DOMAINS[name]
  return domain._replace(rig=domain.rig._replace(baseline=baseline)) if baseline else domain


def rate(sensors: tuple[str, ...]) -> float:
  """Windows a second of a sequence."""
  return 1 / EVENT_WINDOW if set(COUNTED) & set(sensors) else FPS


def rendered(sensors: tuple[str, ...]) -> tuple[str, ...]:
  """The sensors of `sim.world.SENSORS` that some of `SENSORS` need: hints are made of the stereo pair."""
  needed = {*sensors, *(PAIR if HINT in sensors else ())}
  return tuple(name for name in world.SENSORS if name in needed)


def completed(
  frame: Mapping[str, np.ndarray], domain: domains.Domain, sensors: tuple[str, ...]
) -> dict[str, np.ndarray]:
  """The chosen fields of a frame, depth hints among them where they are chosen.

  Args:
    frame: what the sensors `rendered(sensors)` say, on the host.
    domain: whose rig saw it.
    sensors: of `SENSORS`.
  """
  if HINT not in sensors:
    return dict(frame)
  target, partner = (frame[name] for name in PAIR)
  focal = domain.rig.focal * target.shape[1]
  hint = depth_hints.hints(target, partner, domain.rig.baseline, focal)
  return {name: hint if name == HINT else frame[name] for name in sensors}


def _domain(config) -> domains.Domain:
  return domain_of(config.domain, config.get("baseline", 0.0))


def _sensors(config) -> tuple[str, ...]:
  chosen = config.get("sensors", ()) or DEFAULT
  return tuple(name for name in SENSORS if name in chosen)


def stored(height: int, width: int, steps: int, bins: int = 1) -> dict[str, Stored]:
  """How what each sensor sees is stored.

  Args:
    height, width: of the images, pixels.
    steps: of a spike stream.
    bins: of event counts.
  """
  return {
    "rgb": Stored((height, width, 3), "uint8"),
    "rgb_right": Stored((height, width, 3), "uint8"),
    "spike": Stored((height, width, steps // 8), "uint8"),
    "depth": Stored((height, width), "float32"),
    "label": Stored((height, width), "uint8"),
    "intrinsics": Stored((3, 3), "float32"),
    "baseline": Stored((), "float32"),
    "events": Stored((height, width, bins, 4), "uint8"),
    "depth_before": Stored((height, width), "float32"),
    "event_image": Stored((height, width, 2), "uint8"),
    HINT: Stored((height, width), "float32"),
  }


SET = World()
