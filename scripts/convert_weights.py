"""Published weights to a checkpoint of ours, and a checkpoint of ours to PyTorch.

    python scripts/convert_weights.py dpt_hybrid.pt --config configs/bicross.py:pretrain,scene,model.uncertainty=false --output weights/dpt
    python scripts/convert_weights.py vit_base_r50_s16_384.safetensors --config configs/bicross.py:pretrain,scene --output weights/r50
    python scripts/convert_weights.py runs/bicross/pretrain-scene-s0 --output model.safetensors

In: isl-org's DPT and MiDaS and BiCross (.pt), Hugging Face's DPT (.safetensors, .bin), and backbones
alone: timm's (.safetensors, .pt) and Google's ViT (.npz). The config says what network it is to be.
A stage starts from the result with --config.init_from=DIR. Out: .safetensors with DPT's names.
"""

import pathlib
import sys

from bicross_jax import cli, errors
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument("source", help="a file of weights; or a run's folder or one checkpoint in it")
  parser.add_argument(
    "--output", required=True, help="folder of the checkpoint to be; or the .safetensors file to be"
  )
  parser.add_argument(
    "--config",
    metavar="FILE[:ARG]",
    help="the network to be; single fields are set with --config.field=value",
  )
  parser.add_argument(
    "--inflate", action="store_true", help="make a network for spikes out of one for RGB"
  )
  parser.add_argument(
    "--which", choices=("best", "last"), default="best", help="which checkpoint of a run"
  )
  args, rest = parser.parse_known_args(argv)
  source, output = pathlib.Path(args.source), pathlib.Path(args.output)
  if not source.exists():
    raise errors.UserError(f"no file or folder {source}")
  if output.exists():
    raise errors.UserError(f"{output} is there already; choose another place or delete it")
  if source.is_dir():
    if args.config or args.inflate or rest:
      raise errors.UserError(
        f"{source} is a checkpoint of ours and goes out as it is: "
        f"no {' '.join(rest) or '--config or --inflate'}"
      )
    return _write_out(source, output, args.which)
  if not args.config:
    raise errors.UserError("say what network it is to be: --config FILE[:ARG]")
  return _take_in(source, output, grammar.from_flags(args.config, rest), args.inflate)


def _take_in(source, output, config, inflate):
  from bicross_jax import recipes
  from bicross_jax.convert import files, store, torch_state

  recipe = recipes.create(config)
  state = files.read(source)
  converted = torch_state.convert(config.model.name, recipe.module, state, inflate)
  print(f"read: {len(state)} arrays named as {converted.naming.title} names them")
  for note in converted.notes:
    print(f"note: {note}")
  if converted.unused:
    print(f"left out, as no output depends on them: {', '.join(sorted(converted.unused))}")
  store.write(output, converted, config, recipe, source.name)
  what = "the backbone alone" if converted.naming.part != "params" else "the whole network"
  print(f"written: {what}, in {output}; a stage starts from it with --config.init_from={output}")
  return 0


def _write_out(source, output, which):
  if output.suffix != ".safetensors":
    raise errors.UserError(f"{output}: weights go out as .safetensors")

  import json

  from bicross_jax import convert, inference
  from bicross_jax.convert import files

  model = inference.load(source, which)
  state = convert.to_torch(model.config.model.name, model.variables)
  network = json.dumps(dict(model.config.model), sort_keys=True)
  files.write_safetensors(output, state, {"model": network})
  print(f"written: {len(state)} arrays with the names of DPT, in {output}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
