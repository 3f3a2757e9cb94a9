"""Measures how active the layers of a spiking network are, and what they cost at that.

    python scripts/firing_rates.py --checkpoint runs/stereospike/binocular-synthetic-s0

The density of a tensor is the share of its entries that are not 0, the mean over time steps and over
the examples of a part. Written are firing_rates.json (densities, operations, energy), and
firing_rates.png, a bar for every tensor. The energy is reported three times: of operations alone, with
memory traffic, and beside an analogue network of the same bits, with the density at which both cost
the same (docs/systems/stereospike.md).
"""

import argparse
from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np

from bicross_jax import cli, errors, files
from bicross_jax.evaluation import energy
from bicross_jax.evaluation import report as reports

ROWS = (  # of the printed table: title, arithmetic, what counts
  ("operations, float32", "float32", "operations_joule"),
  ("with memory, float32", "float32", "total_joule"),
  ("operations, same bits", "matched", "operations_joule"),
  ("with memory, same bits", "matched", "total_joule"),
)


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `output` filled in.

  Raises:
    errors.UserError: a wrong argument or place.
  """
  parser = cli.Parser(
    "firing_rates.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  cli.add_checkpoint(parser)
  parser.add_argument("--output", help="folder (default: firing-rates-PART in the run's)")
  args = parser.parse_args(argv)
  cli.check_checkpoint(args.checkpoint)
  args.output = args.output or pathlib.Path(args.checkpoint) / f"firing-rates-{args.part}"
  files.check_output_folder(args.output)
  return args


def main(argv: Sequence[str]) -> int:
  """Measures the network that the arguments name; returns the exit status."""
  args = parse(argv)
  found = run(args.checkpoint, args.which, args.part, args.plugin)
  folder = files.make_folder(args.output)
  files.write_json(folder / "firing_rates.json", {"checkpoint": str(args.checkpoint), **found})
  from bicross_jax.viz import bars

  bars.save(
    folder / "firing_rates.png",
    found["density"],
    f"{found['stage']}, {found['data']}: {found['examples']} examples",
    "entries that are not 0 [%]",
  )
  print(text(found))
  print(f"written: {folder / 'firing_rates.json'}, {folder / 'firing_rates.png'}")
  return 0


def run(
  path, which: str = "best", part: str = "test", plugins: Sequence[str] = ()
) -> dict[str, Any]:
  """Densities and costs of a run on what its config tests on.

  Args:
    path: a run's folder, or the folder of one checkpoint in it.
    which: "best" or "last", where `path` is a run's folder.
    part: of the data.
    plugins: modules outside this package whose recipe the checkpoint may name.

  Returns:
    {"stage", "data", "examples", "steps", "density": {tensor: mean}, "energy": `energy.report`}.

  Raises:
    errors.UserError: no such run, one without spikes, or data that is not there.
  """
  import jax

  from bicross_jax import inference
  from bicross_jax.commands import evaluate
  from bicross_jax.recipes.stereospike import activity
  from bicross_jax.train import devices

  devices.prepare()
  model = inference.load(path, which, plugins)
  config = model.config
  if config.get("model", {}).get("name") != "stereospike":
    raise errors.UserError(f"{path} is a run of stage {config.stage}, whose network has no spikes")
  where = evaluate.test_config(config)
  measure = jax.jit(activity.meter(config))
  variables, carry, rows = jax.device_put(model.variables), (), []
  for batch, truths in evaluate.batches(model, where, part, ()):
    given = {name: x for name, x in batch.items() if name in (*model.recipe.inputs, "reset")}
    found, carry = measure(variables, given, carry)
    rows += [{name: x[i] for name, x in jax.device_get(found).items()} for i in range(len(truths))]
  density = {name: float(np.mean([row[name] for row in rows])) for name in order(rows[0])}
  layers = activity.layers(config)
  inputs = [density[layer.pop("source")] for layer in layers]
  costs = energy.report([energy.Layer(**layer) for layer in layers], inputs, config.input.steps)
  data = config[config.evals[config.test].data]
  return {
    "stage": config.stage,
    "data": f"{data.name}/{data.domain}/{part}",
    "examples": len(rows),
    "steps": config.input.steps,
    "density": density,
    "energy": costs,
  }


def order(names) -> list[str]:
  """Tensors in the order of the network: encoder, bottleneck, decoder from the deepest level."""
  stages = ("input", "bottom", "conv", "bottleneck", "deconv", "add")

  def place(name):
    kind = next(i for i in reversed(range(len(stages))) if name.startswith(stages[i]))
    deep = stages[kind] in ("deconv", "add")
    level = -int(name[-1]) if deep else 0
    late = name + "~"  # the result of a block after its layers
    return (4, level, kind, name) if deep else (kind, 0, 0, name if "conv" in name else late)

  return sorted(names, key=place)


def text(found) -> str:
  """What was found, as tables."""
  densities = {name: {"density": f"{100 * x:.1f} %"} for name, x in found["density"].items()}
  costs = found["energy"]
  rows = {}
  for title, kind, what in ROWS:
    own, other = costs[f"spiking_{kind}_{what}"], costs[f"ann_{kind}_{what}"]
    rows[title] = {
      "spiking": f"{1e6 * own:.1f} uJ",
      "analogue": f"{1e6 * other:.1f} uJ",
      "ratio": f"{own / other:.2f}",
    }
  lines = [
    reports.table(densities, ("density",), {}),
    "",
    reports.table(rows, ("spiking", "analogue", "ratio"), {}),
    "",
    f"{costs['synaptic_operations'] / 1e6:.1f} M synaptic operations and {costs['macs'] / 1e6:.1f} M "
    f"multiplications an example; {found['steps']} time step(s), matched by "
    f"{costs['matched_bits']} bit(s)",
    f"input density {100 * costs['input_density']:.1f} %; with memory both cost the same at "
    f"{100 * costs['break_even_density_float32']:.1f} % (float32) and "
    f"{100 * costs['break_even_density_matched']:.1f} % (same bits); literature: about "
    f"{100 * costs['break_even_density_literature']:.0f} %",
  ]
  return "\n".join(lines)
