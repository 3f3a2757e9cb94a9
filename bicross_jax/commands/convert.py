"""Published weights to a checkpoint of ours, and a checkpoint of ours to PyTorch.

    python scripts/convert_weights.py dpt_hybrid.pt --config configs/bicross.py:pretrain,scene,model.uncertainty=false --output weights/dpt
    python scripts/convert_weights.py vit_base_r50_s16_384.safetensors --config configs/bicross.py:pretrain,scene --output weights/r50
    python scripts/convert_weights.py runs/bicross/pretrain-scene-s0 --output model.safetensors

In: .pt, .pth, .bin, .safetensors and .npz, under any naming that the networks of the config are known
by (DPT: isl-org's DPT and MiDaS and BiCross, Hugging Face's; and backbones alone: timm's and
Google's). A stage starts from the result with --config.parents.ROLE.checkpoint=DIR. Out: .safetensors
under the published names, or under names made from ours where a network is published nowhere.
"""

import argparse
from collections.abc import Sequence
import json
import pathlib

from bicross_jax import cli, errors, files
from bicross_jax.config import grammar


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments; `config` is a whole config, or None where a checkpoint goes out.

  Raises:
    errors.UserError: a wrong argument or config, nothing to read, or something in the way.
  """
  parser = cli.Parser(
    "convert_weights.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("source", help="a file of weights; or a run's folder or one checkpoint in it")
  add("--output", required=True, help="folder of the checkpoint to be; or the .safetensors file")
  add(
    "--config",
    metavar="FILE[:ARG]",
    help="the network to be; single fields are set with --config.field=value",
  )
  add("--inflate", action="store_true", help="make a network for spikes out of one for RGB")
  add("--which", choices=("best", "last"), default="best", help="which checkpoint of a run")
  cli.add_plugin(parser)
  args, rest = parser.parse_known_args(argv)
  args.source, args.output = pathlib.Path(args.source), pathlib.Path(args.output)
  out = args.source.is_dir()
  if not out:
    files.size(args.source)
  if args.output.exists():
    raise errors.UserError(
      f"{errors.shown(args.output)} is there already; choose another place or delete it"
    )
  if out and (args.config or args.inflate or rest):
    raise errors.UserError(
      f"{errors.shown(args.source)} is a checkpoint of ours and goes out as it is: "
      f"no {' '.join(rest) or '--config or --inflate'}"
    )
  if out and args.output.suffix != ".safetensors":
    raise errors.UserError(f"{errors.shown(args.output)}: weights go out as .safetensors")
  if not out and not args.config:
    raise errors.UserError("say what network it is to be: --config FILE[:ARG]")
  files.check_output_folder(args.output.absolute().parent)
  if not out:
    args.config = grammar.load(args.config, grammar.overrides_of(rest, "--config."))
  return args


def main(argv: Sequence[str]) -> int:
  """Converts what the arguments say; returns the exit status."""
  args = parse(argv)
  if args.config is None:
    write_out(args.source, args.output, args.which, args.plugin)
  else:
    take_in(args.source, args.output, args.config, args.inflate)
  return 0


def take_in(source: pathlib.Path, output: pathlib.Path, config, inflate: bool = False) -> None:
  """A file of weights to a checkpoint of the networks of a config, with an account of it.

  Raises:
    errors.UserError: weights that do not fit, or a place that cannot be written.
  """
  import jax

  from bicross_jax import inference, recipes
  from bicross_jax.convert import files as weights
  from bicross_jax.convert import network, store, torch_state

  steps = grammar.resolve_durations(config, config.data.batch_size)
  recipe = recipes.create(steps, grammar.trusted(config))
  state = weights.read(source)
  like = None
  if any(network.find(type(m)).example(m) is None for m in recipe.networks.values()):
    key = jax.random.key(0)
    like = recipe.variables(recipe.init(key, inference.random_parents(config, key)))
  converted = torch_state.networks_from_torch(recipe.networks, state, inflate=inflate, like=like)
  print(f"read: {len(state)} arrays named as {converted.naming.title} names them")
  for note in converted.notes:
    print(f"note: {note}")
  if converted.unused:
    print(f"left out, as no output depends on them: {', '.join(sorted(converted.unused))}")
  store.write(output, converted, config, recipe, source.name)
  part = converted.naming.part
  what = f"the {part} alone" if part else "the whole network"
  print(
    f"written: {what}, in {errors.shown(output)}; a stage starts from it with "
    f"--config.parents.ROLE.checkpoint={errors.shown(output)}"
  )


def write_out(
  source: pathlib.Path, output: pathlib.Path, which: str = "best", plugins: Sequence[str] = ()
) -> None:
  """A checkpoint of ours to a .safetensors file that PyTorch reads.

  Raises:
    errors.UserError: no whole checkpoint, or a place that cannot be written.
  """
  from bicross_jax import inference
  from bicross_jax.convert import files as weights
  from bicross_jax.convert import torch_state

  model = inference.load(source, which, plugins)
  state = torch_state.networks_to_torch(model.networks, model.variables)
  config = json.dumps(files.jsonable(model.meta["config"]), sort_keys=True)
  weights.write_safetensors(output, state, {"config": config})
  print(f"written: {len(state)} arrays of {', '.join(model.networks)}, in {errors.shown(output)}")
