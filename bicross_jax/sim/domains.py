"""The named domains of the synthetic world: light, weather, town, rig and sensors.

A domain is a set of physical values, chosen once from what such places and sensors are like and
fixed together with `world.VERSION`; they are not tuned to results. A pair (low, high) is the range
of a uniform draw per scene. Light is relative: 1 is the full well of the sensor. Exposure is set
for a domain's conditions and varies a little between scenes; it does not follow the picture.

Streets and rooms are separate domains instead of a mixture: weather and head lamps have no meaning
indoors, the depth range differs tenfold (the published scenarios keep NYU and Respike apart from
the driving sets for the same reason), and a gap between domains is to measure the weather, not
the share of rooms.
"""

from typing import NamedTuple

from bicross_jax.sim import spike_camera

Range = tuple[float, float]
Colour = tuple[float, float, float]


class Light(NamedTuple):
  """Illumination. Irradiances are in units of a white surface at `exposure` 1.

  Attributes:
    sun: irradiance of the sun (of the ceiling lamp at 2 m in a room).
    sun_elevation: degrees above the horizon.
    sun_colour, zenith, horizon: linear RGB; the sky's two colours are radiances.
    ambient: irradiance of sky light on an upward surface, before its colour.
    clouds: contrast of clouds, 0 to 1.
    lamps: radiant intensity of street lamps (W/sr in the same relative units, at 1 m).
    headlights: the same of the car's own head lamps.
    lit_windows: share of windows with light behind them.
    exposure: factor from scene radiance to full well.
  """

  sun: Range
  sun_elevation: Range
  sun_colour: Colour
  zenith: Colour
  horizon: Colour
  ambient: Range
  clouds: Range
  lamps: float
  headlights: float
  lit_windows: float
  exposure: Range


class Weather(NamedTuple):
  """What is in the air and on the ground.

  Attributes:
    extinction: 1/m; contrast falls as exp(-extinction * distance).
    rain: opacity of rain streaks, 0 for none.
    wetness: how strongly the ground mirrors and darkens, 0 to 1.
    saturation: factor on the colours' saturation.
  """

  extinction: Range
  rain: float
  wetness: float
  saturation: float


class Town(NamedTuple):
  """Statistics of shapes and textures (metres and shares). In a room only the last three matter."""

  lane: Range
  sidewalk: Range
  setback: Range
  storeys: Range
  storey: Range
  house: Range
  gap: float
  open_side: float
  closed_end: float
  parking: float
  trees: float
  tree_height: Range
  cars: float
  vans: float
  people: float
  brick: float
  wall_colours: tuple[Colour, ...]
  saturation: float


class Rig(NamedTuple):
  """The stereo rig on its vehicle (or in a hand).

  Attributes:
    focal: focal length over the image's width.
    height: of the camera above the ground, metres.
    pitch, roll: degrees; positive pitch looks down. roll is a half width.
    yaw: degrees, half width of the usual heading error; a fifth of the scenes has four times this.
    speed: metres a second, forward.
    turn: degrees a second, half width, about each axis.
    baseline: metres.
  """

  focal: float
  height: Range
  pitch: Range
  roll: float
  yaw: float
  speed: Range
  turn: float
  baseline: float


class RGBSensor(NamedTuple):
  """A colour camera: gain on full-well light, electrons at white, read noise at white = 1."""

  gain: float
  electrons: float
  read_noise: float


class Domain(NamedTuple):
  name: str
  place: str  # "street" or "room"
  light: Light
  weather: Weather
  town: Town
  rig: Rig
  sensor: spike_camera.Sensor
  rgb: RGBSensor


_DAY = Light(
  sun=(0.9, 1.2),
  sun_elevation=(22.0, 62.0),
  sun_colour=(1.0, 0.95, 0.86),
  zenith=(0.28, 0.47, 0.82),
  horizon=(0.70, 0.80, 0.92),
  ambient=(0.38, 0.5),
  clouds=(0.1, 0.9),
  lamps=0.0,
  headlights=0.0,
  lit_windows=0.0,
  exposure=(1.15, 1.35),
)
_DRY = Weather(extinction=(0.0008, 0.002), rain=0.0, wetness=0.0, saturation=1.0)
_TOWN = Town(
  lane=(2.9, 3.6),
  sidewalk=(2.0, 4.0),
  setback=(0.0, 3.0),
  storeys=(2.0, 6.0),
  storey=(2.9, 3.4),
  house=(9.0, 20.0),
  gap=0.35,
  open_side=0.2,
  closed_end=0.5,
  parking=0.6,
  trees=0.45,
  tree_height=(4.5, 8.0),
  cars=0.65,
  vans=0.15,
  people=0.6,
  brick=0.5,
  wall_colours=((0.38, 0.15, 0.09), (0.52, 0.42, 0.30), (0.45, 0.43, 0.40), (0.58, 0.53, 0.42)),
  saturation=1.0,
)
_CAR = Rig(
  focal=0.6,
  height=(1.45, 1.6),
  pitch=(2.0, 5.0),
  roll=1.0,
  yaw=5.0,
  speed=(4.0, 15.0),
  turn=12.0,
  baseline=0.54,
)
# Full-well light brings 1.2 of a threshold of 2: white fires at 0.6 of the readout rate.
_SPIKE = spike_camera.Sensor(
  gain=1.2,
  threshold=2.0,
  random_phase=True,
  shot_noise=2e-4,
  dark_current=0.004,
  fixed_pattern=0.01,
  pattern_seed=1,
)
_COLOUR = RGBSensor(gain=1.0, electrons=8000.0, read_noise=0.002)

_CLEAR = Domain("clear", "street", _DAY, _DRY, _TOWN, _CAR, _SPIKE, _COLOUR)

_FOGGY = _CLEAR._replace(
  name="foggy",
  light=_DAY._replace(
    sun=(0.12, 0.25),
    sun_elevation=(50.0, 80.0),
    sun_colour=(1.0, 1.0, 1.0),
    zenith=(0.66, 0.68, 0.70),
    horizon=(0.64, 0.66, 0.68),
    ambient=(0.62, 0.75),
    clouds=(0.0, 0.1),
  ),
  weather=Weather(extinction=(0.025, 0.06), rain=0.0, wetness=0.1, saturation=0.8),
)

_RAINY = _CLEAR._replace(
  name="rainy",
  light=_DAY._replace(
    sun=(0.12, 0.25),
    sun_elevation=(60.0, 80.0),
    sun_colour=(0.95, 0.98, 1.0),
    zenith=(0.38, 0.42, 0.48),
    horizon=(0.52, 0.56, 0.60),
    ambient=(0.42, 0.52),
    clouds=(0.4, 1.0),
  ),
  weather=Weather(extinction=(0.006, 0.015), rain=0.2, wetness=0.9, saturation=0.7),
  sensor=_SPIKE._replace(dark_current=0.006, fixed_pattern=0.015),
)

_NIGHT = _CLEAR._replace(
  name="night",
  light=Light(
    sun=(0.003, 0.006),
    sun_elevation=(30.0, 70.0),
    sun_colour=(0.7, 0.8, 1.0),
    zenith=(0.004, 0.006, 0.012),
    horizon=(0.022, 0.020, 0.020),
    ambient=(0.010, 0.016),
    clouds=(0.1, 0.6),
    lamps=16.0,
    headlights=45.0,
    lit_windows=0.3,
    exposure=(1.5, 1.8),
  ),
  sensor=_SPIKE._replace(gain=1.8, shot_noise=6e-4, dark_current=0.015, fixed_pattern=0.03),
  rgb=RGBSensor(gain=1.8, electrons=900.0, read_noise=0.012),
)

_OTHER_TOWN = _CLEAR._replace(
  name="other_town",
  light=_DAY._replace(
    sun=(0.6, 1.2),
    sun_elevation=(30.0, 75.0),
    sun_colour=(1.0, 0.97, 0.92),
    zenith=(0.40, 0.55, 0.78),
    horizon=(0.80, 0.83, 0.85),
    ambient=(0.45, 0.6),
    exposure=(1.1, 1.3),
  ),
  weather=Weather(extinction=(0.002, 0.005), rain=0.0, wetness=0.0, saturation=0.9),
  town=Town(
    lane=(3.3, 4.2),
    sidewalk=(2.5, 6.0),
    setback=(1.0, 7.0),
    storeys=(1.0, 12.0),
    storey=(2.8, 4.0),
    house=(7.0, 26.0),
    gap=0.5,
    open_side=0.3,
    closed_end=0.35,
    parking=0.4,
    trees=0.6,
    tree_height=(3.5, 10.0),
    cars=0.75,
    vans=0.3,
    people=0.7,
    brick=0.15,
    wall_colours=((0.62, 0.60, 0.56), (0.50, 0.54, 0.58), (0.66, 0.52, 0.38), (0.40, 0.46, 0.42)),
    saturation=0.7,
  ),
  rig=_CAR._replace(focal=0.66, height=(1.6, 1.8), pitch=(0.5, 4.0), yaw=6.0, speed=(5.0, 18.0)),
  sensor=_SPIKE._replace(
    gain=1.05, dark_current=0.008, shot_noise=3e-4, fixed_pattern=0.02, pattern_seed=2
  ),
  rgb=RGBSensor(gain=1.1, electrons=5000.0, read_noise=0.004),
)

_ROOMS = _CLEAR._replace(
  name="rooms",
  place="room",
  light=Light(
    sun=(0.7, 1.1),
    sun_elevation=(60.0, 80.0),
    sun_colour=(1.0, 0.94, 0.84),
    zenith=(0.6, 0.7, 0.9),
    horizon=(0.9, 0.95, 1.0),
    ambient=(0.32, 0.45),
    clouds=(0.0, 0.5),
    lamps=0.0,
    headlights=0.0,
    lit_windows=0.0,
    exposure=(0.8, 1.0),
  ),
  weather=Weather(extinction=(0.0, 0.0), rain=0.0, wetness=0.0, saturation=1.0),
  town=_TOWN._replace(
    people=0.5,
    wall_colours=((0.66, 0.62, 0.54), (0.55, 0.60, 0.64), (0.62, 0.55, 0.46), (0.7, 0.7, 0.68)),
  ),
  rig=Rig(
    focal=0.65,
    height=(1.3, 1.6),
    pitch=(5.0, 12.0),
    roll=2.0,
    yaw=8.0,
    speed=(0.3, 1.5),
    turn=40.0,
    baseline=0.12,
  ),
)

_ROOMS_DIM = _ROOMS._replace(
  name="rooms_dim",
  light=_ROOMS.light._replace(
    sun=(0.18, 0.35),
    sun_colour=(1.0, 0.85, 0.62),
    zenith=(0.03, 0.03, 0.05),
    horizon=(0.04, 0.04, 0.06),
    ambient=(0.05, 0.09),
  ),
  town=_ROOMS.town._replace(
    wall_colours=((0.45, 0.40, 0.32), (0.38, 0.42, 0.40), (0.50, 0.35, 0.28), (0.5, 0.5, 0.46)),
    saturation=0.8,
  ),
  sensor=_SPIKE._replace(
    gain=1.5, shot_noise=5e-4, dark_current=0.012, fixed_pattern=0.03, pattern_seed=3
  ),
  rgb=RGBSensor(gain=1.8, electrons=1500.0, read_noise=0.008),
)

DOMAINS: dict[str, Domain] = {
  domain.name: domain
  for domain in (_CLEAR, _FOGGY, _RAINY, _NIGHT, _OTHER_TOWN, _ROOMS, _ROOMS_DIM)
}
