"""Examples and sequences with what one or several trained networks say of them, for `viz`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import zlib

import jax
import numpy as np

from bicross_jax import errors, inference
from bicross_jax.commands import stages
from bicross_jax.data import pipeline
from bicross_jax.recipes.bicross import common as depth_recipe
from bicross_jax.sim import domains, drive
from bicross_jax.tasks.depth import protocol as protocols
from bicross_jax.train import devices
from bicross_jax.viz import panels

FIELDS = ("rgb", "spike", "depth")
FEATURE = "path_1"  # the features that both heads of a DPT see
ROWS, COLUMNS = 7, 13  # of a sequence's pixels, one in so many decides on the scales


class Show:
  """Trained networks, side by side on the same data.

  Attributes:
    models: {name: from `inference.load`}.
    config: says on what data and by which protocol (`stages.evaluation_config`).
  """

  def __init__(self, models: Mapping[str, inference.Trained], config):
    """Takes the networks.

    Raises:
      errors.UserError: a network that cannot take the streams of that data.
    """
    devices.enable_compile_cache()
    for name, model in models.items():
      steps = model.config.data.steps
      if model.config.input.modality == "spike" and steps != config.data.steps:
        raise errors.UserError(
          f"{name} takes streams of {steps} steps; those of the data have {config.data.steps}"
        )
    self.models, self.config = dict(models), config
    self._looks = {name: _look(model, len(models) == 1) for name, model in models.items()}

  def examples(self, part: str, count: int) -> list[dict]:
    """Examples spread evenly over a part, with what the networks say of them.

    Args:
      part: "train", "validation" or "test".
      count: how many.

    Returns:
      Dicts for `viz.panels`: "rgb", "spike", "depth" float32[H, W] metres, "key", and what the
      networks say. Of one network that is "prediction" float32[h, w], "abs_rel" by the protocol,
      and, where it has them, "uncertainty" and "feature"; of several "prediction" and "abs_rel"
      are {name: ...}, and there is nothing else.

    Raises:
      errors.UserError: data that is not there.
    """
    data, batches = self._open()
    size = data.sizes[part]
    chosen = {round(i * (size - 1) / max(1, count - 1)) for i in range(min(count, size))}
    return list(self._seen(batches.evaluation(part), chosen))

  def sequence(
    self, part: str, *, first: int = 0, count: int = 40, fps: float = 10.0
  ) -> Iterator[dict]:
    """Consecutive frames with what the networks say of them, as dicts like those of `examples`.

    Of the synthetic world they are frames of a drive in `config.data.domain`, the same drive in
    all domains; of other sets the examples of a part in their order.

    Args:
      part: "train", "validation" or "test"; a drive is none of them.
      first: which frame is the first.
      count: how many there are at most.
      fps: frames a second of the drive.

    Raises:
      errors.UserError: data or a first frame that is not there.
    """
    if self.config.data.name == "spike_world":
      batches = _drive(self.config.data, first + count, fps)
    else:
      data, opened = self._open()
      if first >= data.sizes[part]:
        raise errors.UserError(f"there is no frame {first}: part {part} has {data.sizes[part]}")
      batches = opened.evaluation(part)
    return self._seen(batches, range(first, first + count))

  def _open(self):
    data = pipeline.open(self.config.data)
    return data, data.batches(depth_recipe.field_spec(self.config, FIELDS), seed=0)

  def _seen(self, batches, chosen) -> Iterator[dict]:
    """The chosen rows, by number, with what the networks say."""
    rules = stages.protocol(self.config)
    last, first = max(chosen), 0
    for batch, truths in batches:
      rows = [i for i in range(len(truths)) if first + i in chosen]
      said = {name: look(batch) for name, look in self._looks.items()} if rows else {}
      for i in rows:
        depths = {name: out["depth"][i] for name, out in said.items()}
        wrong = {
          name: protocols.measure(d, truths[i]["depth"], truths[i]["crop"], rules)["abs_rel"]
          for name, d in depths.items()
        }
        example = {name: batch[name][i] for name in FIELDS} | {"key": truths[i]["key"]}
        if len(said) == 1:
          ((name, out),) = said.items()
          example |= {k: v[i] for k, v in out.items() if k != "depth"}
          depths, wrong = depths[name], wrong[name]
        yield example | {"prediction": depths, "abs_rel": wrong}
      first += len(truths)
      if first > last:
        return


def sequence_scales(frames: Iterable[dict]) -> panels.Scales:
  """The scales of a sequence, from a share of its pixels, so that it need not be held."""

  def few(x):
    return np.asarray(x)[::ROWS, ::COLUMNS]

  kept = []
  for frame in frames:
    fields = ("depth", "spike", "uncertainty", "feature")
    kept.append({name: few(frame[name]) for name in fields if name in frame})
    kept[-1]["prediction"] = {name: few(x) for name, x in panels.predictions(frame).items()}
  return panels.shared_scales(kept)


def _look(model: inference.Trained, whole: bool) -> Callable[[Mapping], dict]:
  """batch -> what a network says of it; `whole`: uncertainty and a feature map too."""
  modality = model.config.input.modality

  def feature(variables, batch):
    output = model.module.apply(variables, depth_recipe.network_input(model.config, batch))
    return getattr(output, "features", {}).get(FEATURE)

  feature = jax.jit(feature)

  def look(batch):
    batch = {modality: batch[modality]}
    out = model.predict(batch)
    if not whole:
      return out
    seen = jax.device_get(feature(model.variables, batch))
    return out | ({} if seen is None else {"feature": seen})

  return look


def _drive(data, count, fps) -> Iterator[tuple[dict, list[dict]]]:
  """A drive through the synthetic world, as batches of one frame."""
  if data.domain not in domains.DOMAINS:
    raise errors.UserError(
      f"unknown domain {data.domain!r} of spike_world: choose from "
      f"{', '.join(sorted(domains.DOMAINS))}"
    )
  key = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"drive"))
  frames = drive.frames(
    key,
    domains.DOMAINS[data.domain],
    count,
    height=data.height,
    width=data.width,
    steps=data.steps,
    fps=fps,
  )
  crop = np.array([0, 0, data.height, data.width], np.int32)
  for i, frame in enumerate(frames):
    truth = {"key": f"{data.domain}, drive, {i / fps:.1f} s", "depth": frame["depth"], "crop": crop}
    yield {name: frame[name][None] for name in FIELDS}, [truth]


def load(runs: Mapping[str, str]) -> dict[str, inference.Trained]:
  """{name: the best checkpoint of its run}."""
  return {name: inference.load(path) for name, path in runs.items()}


def parse_runs(texts: Sequence[str]) -> dict[str, str]:
  """{name: run} of "NAME=RUN" texts.

  Raises:
    errors.UserError: a text without a name, or a name that comes twice.
  """
  pairs = [text.partition("=") for text in texts]
  names = [name for name, _, _ in pairs]
  for text, (name, sep, path) in zip(texts, pairs, strict=True):
    if not (name and sep and path):
      raise errors.UserError(f"--strip takes NAME=RUN, not {text!r}")
    if names.count(name) > 1:
      raise errors.UserError(f"--strip names {name!r} twice")
  return {name: path for name, _, path in pairs}
