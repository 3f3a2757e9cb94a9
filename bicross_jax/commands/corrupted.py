"""The evaluation of a network under corruptions: measured test by test, kept in a file, and gone on with."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
import os
import pathlib
from typing import Any, NamedTuple
import zlib

import numpy as np

from bicross_jax import errors, files
from bicross_jax.commands import evaluate
from bicross_jax.sim import corruptions
from bicross_jax.tasks.depth import robustness

INPUT = "rgb"  # the field that is corrupted
REPORT = "robustness.json"
RANGE = ("min_depth", "max_depth", "crop")  # of a protocol: which pixels are compared
Summary = dict[str, Any]
Tester = Callable[..., Summary]  # (corruption, severity), or () for images as they are


class Measured(NamedTuple):
  """What was measured of a network.

  Attributes:
    about: of which network, on what data, by which protocol.
    clean: summary of the evaluation without corruption.
    cells: {corruption: {severity: summary}}.
  """

  about: dict[str, Any]
  clean: Summary
  cells: dict[str, dict[int, Summary]]


def describe(model, where: evaluate.Test, part: str) -> dict[str, Any]:
  """What a report is of: the network's weights, the data and the protocol."""
  import jax

  import bicross_jax
  from bicross_jax.train import runs

  weights = 0
  for leaf in jax.tree.leaves(model.variables):
    weights = zlib.crc32(np.asarray(leaf).tobytes(), weights)
  section = runs.plain(where.data)
  del section["batch_size"]
  return {
    "network": f"{model.config.system} {model.config.stage}",
    "step": model.meta["step"],
    "weights": f"{weights:08x}",
    "version": bicross_jax.__version__,
    "data": f"{where.data.name}/{where.data.domain}/{part}",
    "section": section,
    "protocol": where.protocol._asdict(),
  }


def tester(model, where: evaluate.Test, source, part: str) -> Tester:
  """A function that evaluates a network with a corruption of a severity, or as it is.

  Args:
    model: from `inference.load`.
    where: by which protocol.
    source: the data's `Batches`.
    part: of the data.
  """
  from bicross_jax import tasks
  from bicross_jax.evaluation import run

  task = tasks.create(model.config.task)

  def test(name="", severity=0):
    examples = source.evaluation(part, truth=task.truth)
    if name:
      examples = batches(examples, name, severity)
    report = run.evaluate(task, model.step, examples, where.protocol, model.recipe.fields)
    return files.jsonable(report.summary)

  return test


def begin(test: Tester, about: Mapping[str, Any], path: pathlib.Path) -> Measured:
  """What a report holds; where there is none, it is begun with the test without corruption.

  Args:
    test: from `tester`.
    about: from `describe`.
    path: of the report.

  Raises:
    errors.UserError: the report is of other weights, data or protocol; nothing can be compared.
  """
  from bicross_jax.train import runs

  if not path.exists():
    measured = Measured(dict(about), test(), {})
    save(path, measured)
    return measured
  measured = read(path)
  differences = runs.differences(measured.about, about)
  if differences:
    raise errors.UserError(
      f"{errors.shown(path)} is of another test ({'; '.join(differences)}); give another --output"
    )
  return measured


def go_on(
  test: Tester,
  measured: Measured,
  names: Sequence[str],
  severities: Sequence[int],
  path: pathlib.Path,
) -> None:
  """Adds to what was measured every corruption of every severity that is not there yet.

  Args:
    test: from `tester`.
    measured: from `begin`.
    names, severities: of the corruptions.
    path: of the report, which is written after each test.

  Raises:
    errors.UserError: the report cannot be written.
  """
  import tqdm

  wanted = [(name, severity) for name in names for severity in severities]
  left = [(name, number) for name, number in wanted if number not in measured.cells.get(name, ())]
  for name, severity in tqdm.tqdm(left, unit="test", disable=None):
    measured.cells.setdefault(name, {})[severity] = test(name, severity)
    save(path, measured)


def batches(clean: Iterable[tuple], name: str, severity: int) -> Iterator[tuple]:
  """Batches whose images have a corruption, the same for the same image's key.

  Args:
    clean: (batch, truths) of `Batches.evaluation`; real rows stand before those that pad.
    name, severity: as in `corruptions.corrupt`.
  """

  def change(image, truth):
    seed = zlib.crc32(truth["key"].encode())
    return corruptions.corrupt(image, name, severity, seed)

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for batch, truths in clean:
      images = np.array(batch[INPUT])
      images[: len(truths)] = list(pool.map(change, images[: len(truths)], truths))
      yield {**batch, INPUT: images}, truths


def compared(measured: Measured) -> dict[str, Any]:
  """What must be the same in two reports that are compared: images, and which pixels count."""
  about = measured.about
  found = {"data": about["data"], "images": measured.clean["images"]}
  return found | {name: about["protocol"][name] for name in RANGE}


def read(path) -> Measured:
  """What `save` wrote.

  Raises:
    errors.BadFileError: it is no such file.
  """
  found = files.read_json(path)
  try:
    measured = Measured(
      {**found["about"]},
      {**found["clean"]},
      {
        name: {int(severity): {**summary} for severity, summary in cells.items()}
        for name, cells in found["cells"].items()
      },
    )
    for summary in (measured.clean, *(s for c in measured.cells.values() for s in c.values())):
      robustness.dee(summary)
    compared(measured)
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise errors.BadFileError(path, "is no report of robustness.py", f"a {REPORT}") from error
  return measured


def save(path, measured: Measured, found: Mapping[str, Any] | None = None) -> None:
  """Writes what was measured, and what was made of it, as JSON.

  Raises:
    errors.UserError: the place cannot be written.
  """
  files.write_json(path, {**measured._asdict(), "found": found})
