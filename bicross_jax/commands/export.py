"""A trained network as a file that runs without JAX: ONNX, or NIR for the spiking part of StereoSpike.

    python scripts/export.py runs/bicross/crossmodality-synthetic-s0 --output model.onnx
    python scripts/export.py runs/stereospike/binocular-synthetic-s0 --output model.nir

An ONNX file takes the fields of a batch (images as bytes, spike streams as packed bits) and gives what the
network predicts (depth in metres, uncertainty). Where ONNX Runtime is installed, it is run there on random
inputs and compared with JAX. A NIR file has the layers that NIR can express, which tools and chips for
spiking networks read; those that it cannot are printed, and listed in the .json beside it.
"""

import argparse
from collections.abc import Sequence
import importlib.util
import pathlib

from bicross_jax import cli, errors, files

SUFFIXES = {".onnx": "onnx", ".nir": "nir"}  # and the packages they need
EXTRAS = {"onnx": "export", "nir": "nir"}
TOLERANCE = 1e-3  # of the largest number of an output; float32 sums in another order give 1e-5


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments.

  Raises:
    errors.UserError: a wrong argument, no such checkpoint, something in the way, or a package missing.
  """
  parser = cli.Parser(
    "export.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("checkpoint", metavar="RUN", help="a run's folder, or one checkpoint in it")
  add("--output", required=True, metavar="FILE", help="the file to be, .onnx or .nir")
  add("--which", choices=("best", "last"), default="best", help="which checkpoint of a run")
  add("--batch", type=int, default=1, metavar="N", help="rows of a batch (1), of ONNX")
  cli.add_plugin(parser)
  args = parser.parse_args(argv)
  output = pathlib.Path(args.output)
  if not pathlib.Path(args.checkpoint).is_dir():
    raise errors.UserError(f"no folder {errors.shown(args.checkpoint)}")
  if output.suffix not in SUFFIXES:
    raise errors.UserError(f"{errors.shown(output)}: the file must be called .onnx or .nir")
  if output.exists():
    raise errors.UserError(
      f"{errors.shown(output)} is there already; choose another place or delete it"
    )
  if not 1 <= args.batch <= 1024:
    raise errors.UserError(f"--batch {args.batch}: 1 to 1024 are possible")
  package = SUFFIXES[output.suffix]
  if importlib.util.find_spec(package) is None:
    raise errors.UserError(
      f'exporting needs {package}: pip install "bicross_jax[{EXTRAS[package]}]"'
    )
  files.check_output_folder(output.absolute().parent)
  return args


def main(argv: Sequence[str]) -> int:
  """Exports what the arguments say; returns the exit status: 1 where the results differ."""
  args = parse(argv)
  from bicross_jax import inference

  model = inference.load(args.checkpoint, args.which, args.plugin)
  return (_nir if pathlib.Path(args.output).suffix == ".nir" else _onnx)(model, args)


def _nir(model, args) -> int:
  """Writes the part that NIR can express, and says what is left out."""
  from bicross_jax.nir import files as nir_files
  from bicross_jax.nir import stereospike

  module = next(iter(model.networks.values()))
  size = (model.config.data.height, model.config.data.width)
  graph, left_out = stereospike.to_nir(module, model.variables, size)
  nodes = {name: type(node).__name__ for name, node in graph.nodes.items()}
  told = {"checkpoint": str(args.checkpoint), "nodes": nodes, "left_out": left_out}
  beside = nir_files.write(args.output, graph, told)
  print(f"nodes: {', '.join(nodes)}")
  for name, why in left_out.items():
    print(f"left out: {name}: {why}")
  print(f"written: {errors.shown(args.output)}, {errors.shown(beside)}")
  return 0


def _onnx(model, args) -> int:
  """Writes what predicts, and compares it where it can be run."""
  import numpy as np

  from bicross_jax import export, fields

  found = export.to_onnx(model, args.output, batch=args.batch)
  for title, values in found.items():
    shown = ", ".join(f"{name} {kind.name}{list(shape)}" for name, (shape, kind) in values.items())
    print(f"{title}: {shown}")
  print(f"written: {errors.shown(args.output)}")
  if importlib.util.find_spec("onnxruntime") is None:
    print("not checked: onnxruntime is not installed")
    return 0
  rng = np.random.default_rng(0)
  batch = {
    name: fields.random(
      rng, fields.get(name, model.recipe.fields), (args.batch, *spec.shape), spec.dtype
    )
    for name, spec in model.inputs.items()
  }
  wrong = []
  for name, difference in export.check(args.output, model, batch).items():
    print(f"{name}: at most {difference.largest:.2g} from JAX, of {difference.scale:.3g}")
    if not difference.largest <= TOLERANCE * difference.scale:
      wrong.append(name)
  if wrong:
    print(f"warning: ONNX Runtime gives other numbers for {', '.join(wrong)}")
  return 1 if wrong else 0
