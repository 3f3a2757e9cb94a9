"""Which measure of uncertainty of an adapted network can be trusted, on source and target.

The measures are those that can filter pseudo-labels in training, by the same functions: the
learned head, the disagreement of teacher and student, and the spread over augmented views. What is
judged is the published network on streams as they are; in training the teacher may also match
firing rates and average mirror images (`adapt.match`, `adapt.mirror`).
"""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors, files, inference
from bicross_jax.commands import stages
from bicross_jax.data import pipeline
from bicross_jax.evaluation import bootstrap
from bicross_jax.evaluation import report as reports
from bicross_jax.losses import pseudo
from bicross_jax.losses import uncertainty as uncertainty_losses
from bicross_jax.ops import augment
from bicross_jax.recipes.bicross import common as depth_recipe
from bicross_jax.tasks.depth import uncertainty
from bicross_jax.train import checkpoints, devices, state_parts
from bicross_jax.viz import curves

MEASURES = ("head", "disagreement", "variance")
COLUMNS = (
  "AUSE",
  "AUSE of an image [95 %]",
  "error of surer half",
  "ECE",
  "ECE calibrated",
  "factor",
)
Measures = Callable[[Mapping[str, np.ndarray], int], dict[str, np.ndarray]]


class Domain(NamedTuple):
  """What was found on one set.

  Attributes:
    data: "name/domain/part".
    images: number of images with a pixel to compare.
    pixels: number of pixels compared.
    error: mean of |d - gt| / gt clipped at 1 over them.
    random: AUSE of an uncertainty that says nothing.
    measures: {measure: Judgement}.
  """

  data: str
  images: int
  pixels: int
  error: float
  random: float
  measures: dict[str, uncertainty.Judgement]


class Pair(NamedTuple):
  """Params of a teacher and of the student that learns from it."""

  teacher: Any
  student: Any


def measures(config, module, variables, pair: Pair | None = None) -> Measures:
  """The network's depth with every measure of how far to trust it.

  Args:
    config: of stage crossdomain.
    module: the network.
    variables: what is published and judged, {"params": ...}.
    pair: who may disagree; one of them is published. None: there is no disagreement to measure.

  Returns:
    (batch with `spike` uint8[B, H, W, T/8], number of the batch, which draws the augmentation) ->
    {"depth": metres, measure: ...}, float32[B, h, w]. The measures, all on the scale of relative
    errors: "head" (where the network has one; of a head trained by l1log, its width over the
    depth), "disagreement" (the student sees what it sees in training) and "variance".
  """

  def look(params, spike):
    return module.apply({"params": params}, depth_recipe.network_input(config, {"spike": spike}))

  def floored(params, spike):
    return jnp.maximum(look(params, spike).depth, depth_recipe.MIN_DEPTH)

  def run(params, pair, spike, number):
    shaken = augment.strong(jax.random.fold_in(jax.random.key(0), number), spike)
    seen = look(params, spike)
    depth = jnp.maximum(seen.depth, depth_recipe.MIN_DEPTH)
    out = {"depth": seen.depth}
    if seen.uncertainty is not None:
      out["head"] = seen.uncertainty
      if config.loss.uncertainty == "l1log":
        out["head"] = uncertainty_losses.width(seen.uncertainty) / depth
    if pair is not None:
      learnt = floored(pair.student, shaken if config.adapt.augment else spike)
      out["disagreement"] = pseudo.disagreement(floored(pair.teacher, spike), learnt)
    out["variance"] = pseudo.view_spread(lambda x: floored(params, x), spike, shaken, depth)
    return out

  run = jax.jit(run)

  def measure(batch, number):
    found = jax.device_get(run(variables["params"], pair, batch["spike"], number))
    return {name: found[name] for name in ("depth", *MEASURES) if name in found}

  return measure


def run(path, which: str = "best", part: str = "test", *, most: int = 20_000) -> dict[str, Domain]:
  """Judges every measure of a run of stage crossdomain on its source and on its target.

  Factors are fitted on validation data of the source, so that no label of the target is used.

  Args:
    path: a run's folder, or the folder of one checkpoint in it.
    which: "best" or "last", where `path` is a run's folder.
    part: which part of both sets is looked at.
    most: pixels of an image that count, drawn at random where there are more.

  Returns:
    {"source": Domain, "target": Domain}.

  Raises:
    errors.UserError: no such run, or data that is not there.
  """
  devices.enable_compile_cache()
  model = inference.load(path, which)
  config = model.config
  if "target" not in config or "adapt" not in config:
    raise errors.UserError(
      f"{path} is a run of stage {config.stage}, not of crossdomain: it has no target"
    )
  pair = None
  if config.adapt.method != "adversarial":  # that one has no teacher
    folder = checkpoints.find(path, which)
    pair = Pair(
      state_parts.restore(folder, ("teacher", "params")),
      state_parts.restore(folder, ("params", "student")),
    )
  measure = measures(config, model.module, model.variables, pair)

  factor = uncertainty.factors(_pixels(measure, config, "data", "validation", most))
  out = {}
  for name, section in (("source", "data"), ("target", "target")):
    data = config[section]
    images = _pixels(measure, config, section, part, most)
    together = uncertainty.pool(images)
    judged = uncertainty.judge(images, factor)
    out[name] = Domain(
      f"{data.name}/{data.domain}/{part}",
      sum(len(i.error) > 0 for i in images),
      len(together.error),
      float(together.error.mean(dtype=np.float64)),
      next(iter(judged.values())).sparsification.random,
      judged,
    )
  return out


def _pixels(measure, config, section, part, most) -> list[uncertainty.Pixels]:
  """The compared pixels of every image of a part of the data of a section."""
  rules = stages.protocol(config)
  spec = depth_recipe.field_spec(config, ("spike",), section)
  batches = pipeline.open(config[section], section).batches(spec, seed=0)
  images = []
  for number, (batch, truths) in enumerate(batches.evaluation(part)):
    maps = measure(batch, number)
    depth = maps.pop("depth")
    for i, truth in enumerate(truths):  # real rows stand before those that pad
      doubts = {name: u[i] for name, u in maps.items()}
      images.append(
        uncertainty.pixels(
          depth[i], doubts, truth["depth"], truth["crop"], rules, most=most, seed=len(images)
        )
      )
  return images


def table(domain: Domain) -> str:
  """What was found on one set, in Markdown; the last row is an uncertainty that says nothing."""
  rows: dict[str, dict[str, Any]] = {}
  for name, j in domain.measures.items():
    rows[name] = dict(
      zip(
        COLUMNS,
        (
          j.sparsification.ause,
          str(bootstrap.mean(j.ause)),
          j.surer_half,
          j.reliability.ece,
          j.calibrated,
          j.factor,
        ),
        strict=True,
      )
    )
  rows["none"] = {"AUSE": domain.random, "error of surer half": domain.error}
  return reports.table(rows, COLUMNS, markdown=True)


def differences(domain: Domain) -> dict[str, bootstrap.Interval]:
  """AUSE of an image by each other measure minus that by the first; negative: better than it."""
  (first, judged), *others = domain.measures.items()
  return {
    f"{name} minus {first}": bootstrap.difference(other.ause, judged.ause) for name, other in others
  }


def text(found: Mapping[str, Domain]) -> str:
  """Everything as Markdown."""
  lines = ["# Uncertainty"]
  for name, domain in found.items():
    lines += [
      "",
      f"## {name.capitalize()}: {domain.data}",
      "",
      f"{domain.images} images, {domain.pixels} pixels, mean error {domain.error:.3f}",
      "",
      table(domain),
    ]
    lines += ["", *(f"- AUSE of an image, {k}: {v}" for k, v in differences(domain).items())]
  lines += [
    "",
    "The error of a pixel is |d - gt| / gt clipped at 1. AUSE: area between the curves of"
    " mean error over the share of pixels left out, by uncertainty and by error, over the mean"
    " error (0 is perfect; none: an uncertainty that says nothing). Surer half: the pixels below the"
    " median uncertainty, which a pseudo-label filter keeps. ECE: mean of |claimed - found error|"
    " over ten bins; calibrated: after multiplication by the factor fitted on validation data of"
    " the source.",
  ]
  return "\n".join(lines) + "\n"


def save(folder, found: Mapping[str, Domain], **about) -> list[pathlib.Path]:
  """Writes `uncertainty.json` (`about` and all numbers), `uncertainty.md` and `uncertainty.png`.

  Raises:
    errors.UserError: the disk is full, or the place cannot be written.
  """
  folder = pathlib.Path(folder)
  paths = [folder / f"uncertainty.{suffix}" for suffix in ("json", "md", "png")]
  domains = {
    name: domain._asdict() | {"differences": differences(domain)} for name, domain in found.items()
  }
  files.write_json(paths[0], {**about, "domains": domains})
  with files.write_whole(paths[1]) as file:
    file.write(text(found).encode())
  curves.save(
    paths[2],
    {name: d.measures for name, d in found.items()},
    {name: f"{name}: {d.data}" for name, d in found.items()},
  )
  return paths
