"""The pictures that every task shows: what a network saw, how sure it is, a feature map."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bicross_jax.viz import colour, panels

Example = Mapping[str, Any]
UNCERTAINTY = colour.Ramp("viridis")
FEATURE = colour.Ramp("cividis")
FIRST = 10  # the places below belong to inputs, those from here on to a task
STEPS = 16  # of a spike stream, the mean of which is drawn
# Titles: of cameras, the left one is the one that a network with a single camera sees.
TITLES = {
  "rgb": "RGB",
  "rgb_right": "RGB, right",
  "spike": f"spikes, mean of {STEPS} steps",
  "spike_right": "spikes, right",
  "events": "events",
  "events_right": "events, right",
  "event_image": "event image",
}


# Pictures that networks make of theirs, by the name of the prediction.
MADE = {"as_target": "as target", "as_source": "as source"}


class Scales(NamedTuple):
  """What the pictures of a figure or a video share, whatever the task.

  Attributes:
    white: the firing rate that is white.
    events: the event count that has full colour.
    uncertainty: the highest that is shown.
    feature: the highest activity of a feature map that is shown.
  """

  white: float = 1.0
  events: float = 1.0
  uncertainty: float = 1.0
  feature: float = 1.0


def scales(examples: Sequence[Example]) -> Scales:
  """The scales of some examples; see `inputs`, `uncertainty`, `feature` for their fields."""
  white = [spike_white(e[n]) for e in examples for n in ("spike", "spike_right") if n in e]
  counts = [_quantile(np.abs(polarity(e["events"])), 99.5) for e in examples if "events" in e]
  unsure = [m["uncertainty"] for e in examples for m in _maps(e) if "uncertainty" in m]
  uncertainties = [_quantile(x, 99) for x in unsure]
  active = [_quantile(feature_activity(e["feature"]), 99) for e in examples if "feature" in e]
  return Scales(
    max(white, default=1.0), max([1.0, *counts]), _rounded(uncertainties), _rounded(active)
  )


def inputs(example: Example, scales: Scales) -> dict[tuple[int, str], panels.Cell]:
  """{(place, title): cell} of what a network may have seen.

  Args:
    example: with any of the fields (docs: `fields.FIELDS`) "rgb", "rgb_right" uint8[H, W, 3];
      "spike", "spike_right" uint8[H, W, T/8], drawn as the mean of the first `STEPS` steps;
      "events" [H, W, T, C], drawn as the sums over time, a picture for each camera;
      "event_image" uint8[H, W, 2].
    scales: of the figure.
  """
  pictures = {name: np.asarray(example[name]) for name in ("rgb", "rgb_right") if name in example}
  for name in ("spike", "spike_right"):
    if name in example:
      pictures[name] = spike_picture(example[name], white=scales.white)
  if "events" in example:
    for name, events in zip(("events", "events_right"), cameras(example["events"])):
      pictures[name] = event_picture(events, scales.events)
  if "event_image" in example:
    pictures["event_image"] = event_image_picture(example["event_image"])
  places = {name: i for i, name in enumerate(TITLES)}
  return {(places[n], TITLES[n]): panels.Cell(picture) for n, picture in pictures.items()}


def made(maps: Mapping[str, np.ndarray]) -> dict[str, panels.Cell]:
  """{title: cell} of the pictures `MADE` among a network's predictions, float[h, w, 3] in 0..1."""
  drawn = lambda x: np.round(255 * np.clip(np.nan_to_num(x), 0, 1)).astype(np.uint8)
  return {title: panels.Cell(drawn(maps[name])) for name, title in MADE.items() if name in maps}


def uncertainty(uncertainty: np.ndarray, scales: Scales) -> panels.Cell:
  """Uncertainty float[h, w]: large is bright, NaN is black."""
  scale = colour.Scale(0.0, scales.uncertainty)
  picture = colour.paint(uncertainty, UNCERTAINTY, scale)
  return panels.Cell(picture, panels.Bar("uncertainty", UNCERTAINTY, scale))


def feature(feature: np.ndarray, scales: Scales) -> panels.Cell:
  """How active a feature map float[h, w, C] is, `feature_activity`."""
  scale = colour.Scale(0.0, scales.feature)
  picture = colour.paint(feature_activity(feature), FEATURE, scale)
  return panels.Cell(picture, panels.Bar("root mean square over channels", FEATURE, scale))


def feature_activity(feature: np.ndarray) -> np.ndarray:
  """Root mean square over the channels of a feature map: float[h, w, C] -> float32[h, w]."""
  return np.sqrt(np.mean(np.square(np.asarray(feature, np.float32)), axis=-1))


def spike_picture(spike: np.ndarray, steps: int = STEPS, white: float | None = None) -> np.ndarray:
  """Mean of the first steps of a spike stream as a grey picture: uint8[H, W, 3].

  Firing rates are linear light, so they are encoded for a display (`colour.display`).

  Args:
    spike: uint8[H, W, T / 8], packed along time, bit t % 8 (little) of byte t // 8.
    steps: how many to average, a multiple of 8; all, where the stream is shorter.
    white: the firing rate that is white; by default `spike_white` of this stream.
  """
  white = spike_white(spike, steps) if white is None else white
  return np.repeat(colour.display(firing_rate(spike, steps) / white)[..., None], 3, axis=-1)


def spike_white(spike: np.ndarray, steps: int = STEPS) -> float:
  """The 99.5th percentile of the firing rates (few pixels fire at every step), more than 0."""
  return max(float(np.percentile(firing_rate(spike, steps), 99.5)), 1e-12)


def firing_rate(spike: np.ndarray, steps: int = STEPS) -> np.ndarray:
  """Share of the first steps at which a pixel fires: float64[H, W]; see `spike_picture`."""
  spike = np.asarray(spike)
  if spike.dtype != np.uint8 or spike.ndim != 3 or steps % 8 or steps < 8:
    raise ValueError(
      f"packed spikes uint8[H, W, T/8] and steps of 8 are needed, got"
      f" {spike.dtype} {spike.shape}, {steps} steps"
    )
  return np.unpackbits(spike[..., : steps // 8], axis=-1, bitorder="little").mean(-1)


def cameras(events: np.ndarray) -> list[np.ndarray]:
  """Event counts [H, W, T, C] of each camera, C = 2 a camera (or 1): left, then right."""
  return [events[..., c : c + 2] for c in range(0, events.shape[-1], 2)]


def polarity(events: np.ndarray) -> np.ndarray:
  """ON minus OFF events over all time: [H, W, T, C] -> int64[H, W, cameras]."""
  pairs = [np.asarray(pair, np.int64).sum(axis=2) for pair in cameras(events)]
  return np.stack([p[..., 0] - (p[..., 1] if p.shape[-1] > 1 else 0) for p in pairs], axis=-1)


def event_picture(events: np.ndarray, full: float) -> np.ndarray:
  """Events of one camera on white: red where ON events prevail, blue where OFF events do.

  Args:
    events: counts [H, W, T, 2] (ON, OFF), or [H, W, T, 1] (ON alone).
    full: the difference of counts that has full colour.

  Returns:
    uint8[H, W, 3].
  """
  x = np.clip(polarity(events)[..., 0] / full, -1, 1)
  white = np.stack([1 + np.minimum(x, 0), 1 - np.abs(x), 1 - np.maximum(x, 0)], axis=-1)
  return np.round(255 * white).astype(np.uint8)


def event_image_picture(image: np.ndarray) -> np.ndarray:
  """EvDistill's event image uint8[H, W, 2] as its files show it: red, green, no blue."""
  image = np.asarray(image)
  return np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)


def predictions(example: Example) -> Mapping[str, Mapping[str, np.ndarray]]:
  """{network: {name: map}} of an example."""
  return example.get("prediction", {})


def _maps(example):
  return predictions(example).values()


def _quantile(x, percent) -> float:
  """A percentile of the finite values; 0 where there are none."""
  x = np.asarray(x)
  finite = x[np.isfinite(x)]
  return float(np.percentile(finite, percent)) if finite.size else 0.0


def _rounded(values) -> float:
  """The largest, to two digits; 1 where there is none above 0."""
  highest = max(values, default=1.0)
  return float(f"{highest:.2g}") if highest > 0 else 1.0
