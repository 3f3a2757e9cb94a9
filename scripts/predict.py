"""Depth of pictures or spike streams: maps in metres, uncertainty, and a picture of both.

    python scripts/predict.py --checkpoint runs/bicross/crossmodality-synthetic-s0 a.dat --output out
    python scripts/predict.py --checkpoint RUN_OF_AN_RGB_STAGE frames/ --output out
"""

import pathlib
import sys

from bicross_jax import cli
from bicross_jax import errors


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument("inputs", nargs="+", help="files, or folders of files")
  parser.add_argument("--checkpoint", required=True, help="a run's folder, or one checkpoint in it")
  parser.add_argument("--output", required=True, help="folder for the results")
  parser.add_argument("--start", type=int, default=0, help="first step of a stream's window")
  parser.add_argument("--height", type=int, default=250, help="rows of a .dat stream")
  parser.add_argument("--width", type=int, default=400, help="columns of a .dat stream")
  args = parser.parse_args(argv)
  for path in (args.checkpoint, *args.inputs):
    if not pathlib.Path(path).exists():
      raise errors.UserError(f"no file or folder {path}")

  import tqdm

  from bicross_jax import prediction
  from bicross_jax import trained

  model = trained.load(args.checkpoint)
  paths = prediction.find_inputs(args.inputs, model.config.input.modality)
  names = [p.stem for p in paths]
  if len(set(names)) < len(names):
    raise errors.UserError("two inputs have the same name; give them separate --output folders")
  for path in tqdm.tqdm(paths, desc="predicting", unit="file", disable=len(paths) == 1):
    result = prediction.predict_file(
        model, path, start=args.start, height=args.height, width=args.width)
    prediction.write(pathlib.Path(args.output), path.stem, result)
    depth = result["prediction"]
    tqdm.tqdm.write(f"{path.name}: depth {depth.min():.1f} to {depth.max():.1f} m")
  print(f"written: {len(paths)} x depth, uncertainty and picture in {args.output}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
