"""A network and data sets that are made up: commands run in milliseconds."""

import types

import jax
import ml_collections
import numpy as np

from bicross_jax import errors
from bicross_jax.config import sections

SIZE = (8, 12)


class Data:
  """A set whose depths are all `depth` metres; the network sees them in `rgb`."""

  def __init__(self, depth: float, opened: list, examples: int = 5):
    self.depth, self.opened, self.examples = depth, opened, examples

  def truths(self, part, names):
    assert part == "train" and tuple(names) == ("depth",)
    return ({"depth": np.full(SIZE, self.depth, np.float32)} for _ in range(3))

  def batches(self, spec, *, seed, own_fields):
    del seed, own_fields
    self.opened.append(tuple(spec))
    sizes = dict.fromkeys(("train", "validation", "test"), self.examples)
    return types.SimpleNamespace(evaluation=self._evaluation, sizes=sizes)

  def _evaluation(self, part, truth=("depth",)):
    for begin in range(0, self.examples, 2):
      mask = np.arange(begin, begin + 2) < self.examples
      rgb = np.full((2, *SIZE, 3), self.depth, np.uint8)
      truths = [
        {"key": f"{part}{begin + i}", "crop": (0, 0, *SIZE), "frame": SIZE}
        | {name: np.full(SIZE, self.depth, np.float32) for name in truth}
        for i in range(mask.sum())
      ]
      yield {"rgb": rgb, "mask": mask}, truths


def pipeline(monkeypatch, missing=()):
  """Makes sections open as `Data` of as many metres as their height; returns what was opened."""
  from bicross_jax.data import pipeline as real

  opened: list = []

  def open_(section, name="data"):
    if name in missing:
      raise errors.UserError(f"no folder /gone for config.{name}")
    return Data(float(section.height), opened)

  monkeypatch.setattr(real, "open", open_)
  return opened


def section(height: int, domain: str) -> dict:
  none = sections.placeholder()
  return dict(name="world", domain=domain, data_dir=none, height=height, width=12, batch_size=2)


def config():
  """Of a network that learned at 10 m (`data`) and is tested at 20 m (`target`)."""
  entry = lambda data: dict(data=data, protocol=dict(min_depth=1e-3, max_depth=80.0, crop="none"))
  return ml_collections.ConfigDict(
    dict(
      system="toy",
      stage="only",
      task="depth",
      data=section(10, "clear"),
      target=section(20, "foggy"),
      evals=dict(source=entry("data"), target=entry("target")),
      test="target",
    )
  )


def model(score=None, uncertainty=None):
  """A network that says a tenth too much."""
  spec = {"rgb": jax.ShapeDtypeStruct((*SIZE, 3), np.uint8)}
  recipe = types.SimpleNamespace(
    inputs=("rgb",),
    fields={},
    batch_spec=lambda: {**spec, "baseline": jax.ShapeDtypeStruct((), np.float32)},
    score=score,
    uncertainty=uncertainty,
  )
  step = lambda batch, carry=(): ({"depth": 1.1 * batch["rgb"][..., 0].astype(np.float32)}, carry)
  return types.SimpleNamespace(
    config=config(),
    recipe=recipe,
    variables={},
    meta={"step": 7},
    step=step,
    compile=lambda rows, section: None,
  )


def run_folder(folder):
  """A folder that looks like a run."""
  (folder / "run" / "checkpoints").mkdir(parents=True)
  return folder / "run"
