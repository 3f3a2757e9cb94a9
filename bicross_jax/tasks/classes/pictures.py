"""Class maps in pictures: one colour a class, a legend, the picture under the classes, which is taken for which."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import cv2
import numpy as np

from bicross_jax.data import classes as known
from bicross_jax.tasks.classes.protocol import IGNORE, Protocol
from bicross_jax.viz import cells as common
from bicross_jax.viz import matrix, panels

Example = Mapping[str, Any]
NUMBERS = Protocol()  # classes without names


class Scales(NamedTuple):
  """What all pictures of a figure or a video share.

  Attributes:
    classes: those that occur anywhere in it.
    shared: of inputs, uncertainty and features.
    protocol: whose names and colours the classes have.
  """

  classes: tuple[int, ...]
  shared: common.Scales = common.Scales()
  protocol: Protocol = NUMBERS


def scales(examples: Sequence[Example], protocol: Protocol = NUMBERS) -> Scales:
  """The classes that occur in some examples, and the scales of what else they show."""
  maps = [np.asarray(e["label"]) for e in examples if "label" in e]
  maps += [predicted(m) for e in examples for m in common.predictions(e).values()]
  found = sorted({int(c) for m in maps for c in np.unique(m)})
  return Scales(tuple(found), common.scales(examples), protocol)


def cells(example: Example, scales: Scales) -> dict[tuple[int, str], panels.Cell]:
  """The pictures of one example.

  One network: the inputs, true classes, prediction, where it is wrong, uncertainty, feature
  activity. Several: the inputs, what each predicts, and the ground truth; where each of them sees one input of
  its own, its prediction stands beside that (EvDistill's five panels, with the network of events first).

  Args:
    example: any inputs (`viz.cells.inputs`); "label" uint8[H, W], the truth, 255 = ignore;
      "prediction" {network: {"label": uint8[h, w] or "logits": float[h, w, classes], maybe
      "uncertainty": float[h, w]}}; "row" {network: what `judge` found}, whose "accuracy", if it is
      a number, is written below; "feature" float[h, w, C]; "reads" {network: fields that it reads}.
    scales: of the figure.

  Returns:
    {(place, title): cell}.
  """
  out = common.inputs(example, scales.shared)
  networks = common.predictions(example)
  truth = np.asarray(example["label"]) if "label" in example else None
  several, place, colours = len(networks) > 1, common.FIRST, palette(scales.protocol)
  legend = _legend(scales.classes, scales.protocol)
  out, places = beside(out, example.get("reads", {}))
  if truth is not None:
    title = (place + 9, "ground truth") if several else (place, "classes")
    out[title] = panels.Cell(class_picture(truth, colours), legend)
  for name, maps in networks.items():
    label = predicted(maps)
    cell = panels.Cell(class_picture(label, colours), legend, _caption(example, name))
    out[places.get(name, place + 1), name] = cell
    if several:
      continue
    if truth is not None:
      fitted = cv2.resize(label, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
      out[place + 2, "error"] = panels.Cell(error_picture(fitted, truth))
    if "uncertainty" in maps:
      out[place + 3, "uncertainty"] = common.uncertainty(maps["uncertainty"], scales.shared)
  if "feature" in example:
    out[place + 4, "feature activity"] = common.feature(example["feature"], scales.shared)
  return out


def beside(inputs: Mapping, reads: Mapping[str, Sequence[str]]) -> tuple[dict, dict[str, int]]:
  """(inputs {(place, title): cell}, {network: place}) with each network's place behind what it alone reads.

  Other inputs stand before all that.

  Args:
    inputs: {(place, title): cell}.
    reads: {network: fields}. The places of networks are {}, and the inputs as they were, unless there are several and
      each reads one shown field that no other reads.
  """
  titles = [common.TITLES.get(names[0], "") for names in reads.values() if len(names) == 1]
  shown = {title: cell for (_, title), cell in inputs.items()}
  if not len(reads) == len(set(titles) & set(shown)) > 1:
    return dict(inputs), {}
  first = [title for title in shown if title not in titles]
  moved = {(-len(shown), title): shown[title] for title in first}
  moved |= {(2 * i, title): shown[title] for i, title in enumerate(titles)}
  return moved, {name: 2 * i + 1 for i, name in enumerate(reads)}


def predicted(maps: Mapping[str, np.ndarray]) -> np.ndarray:
  """The predicted classes uint8[h, w]: "label", or the largest of "logits" [h, w, classes]."""
  if "label" in maps:
    return np.asarray(maps["label"], np.uint8)
  return np.argmax(np.asarray(maps["logits"]), axis=-1).astype(np.uint8)


def palette(protocol: Protocol = NUMBERS) -> np.ndarray:
  """The colours of classes 0..255: uint8[256, 3].

  Classes with names have the colours of `data.classes`, and what is no class is white. Others have those of PASCAL VOC (Everingham et al., IJCV 2010; VOCcolormap.m of its development
  kit): bit j of red, green and blue, from the highest down, is bit 3j, 3j + 1 and 3j + 2 of the
  class. Class 255 is then (224, 224, 192), VOC's void.
  """
  if protocol.names:
    return known.KNOWN[protocol.names].palette()
  classes = np.arange(256)[:, None]
  channel = np.arange(3)[None]
  bits = [((classes >> (3 * j + channel)) & 1) << (7 - j) for j in range(8)]
  return np.bitwise_or.reduce(bits).astype(np.uint8)


def class_picture(label: np.ndarray, colours: np.ndarray) -> np.ndarray:
  """Classes uint8[H, W] in the colours of a `palette`: uint8[H, W, 3]."""
  return colours[label]


def error_picture(label: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """White where the class is wrong, grey where it is right, black where the truth is unknown."""
  wrong = np.where(label != truth, 255, 90)
  grey = np.where(truth == IGNORE, 0, wrong).astype(np.uint8)
  return np.repeat(grey[..., None], 3, axis=-1)


def overlay(
  rgb: np.ndarray, label: np.ndarray, colours: np.ndarray, share: float = 0.5
) -> np.ndarray:
  """A picture uint8[H, W, 3] with `share` of the colours of its classes uint8[H, W] over it."""
  mixed = (1 - share) * np.asarray(rgb, np.float32) + share * class_picture(label, colours)
  known = (label != IGNORE)[..., None]
  return np.where(known, np.round(mixed), rgb).astype(np.uint8)


def plots(
  folder: pathlib.Path, summary: Mapping[str, Any], protocol: Protocol
) -> list[pathlib.Path]:
  """Writes `confusion.png` beside the numbers of a summary; returns its path."""
  path = pathlib.Path(folder) / "confusion.png"
  title = f"mIoU {100 * summary['miou']:.2f} %, accuracy {100 * summary['accuracy']:.2f} %"
  matrix.save(path, summary["confusion"], (*protocol.titles, "no answer"), title)
  return [path]


def _legend(classes, protocol):
  titles, colours = protocol.titles, palette(protocol)
  names = [
    "ignored" if c == IGNORE else titles[c] if c < len(titles) else f"class {c}" for c in classes
  ]
  return panels.Legend(tuple(names), tuple(tuple(map(int, colours[c])) for c in classes))


def _caption(example, network):
  """ "accuracy 0.123", or nothing where nothing was compared."""
  accuracy = example.get("row", {}).get(network, {}).get("accuracy", np.nan)
  return "" if np.isnan(accuracy) else f"accuracy {accuracy:.3f}"
