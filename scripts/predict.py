"""Depth of pictures or spike streams: maps in metres, uncertainty, pictures and videos.

  predict.py --checkpoint runs/bicross/crossmodality-synthetic-s0 a.dat --output out
  predict.py --checkpoint runs/bicross/crossmodality-synthetic-s0 a.dat --stride 64 --output out
  predict.py --checkpoint RUN_OF_AN_RGB_STAGE frames/ --output out

An input is a file or a folder of files of the kind that the network takes: spike streams (.dat
of the camera, .npy of shape (T, H, W), .npz with time last) or pictures (.png, .jpg). For every
input NAME there are

  NAME_depth.npy        float32 metres, in the input's size
  NAME_depth.png        16 bits, metres x 256 (what is farther than 255.99 m is written as that)
  NAME_uncertainty.npy  float32, where the network has it
  NAME.png              a picture: input, depth and uncertainty, with their scales

Of a stream, the window is taken that begins at step --start and is as long as the network's
(128 steps). With --stride N a window is taken every N steps from there to the end of the stream;
NAME is then NAME_0000000, NAME_0000064, ... after the window's first step, and there is a video
instead of pictures. A .dat or .npy may be of any length: one window is in memory at a time (a
.npz is read whole).

A sequence (a stream with --stride; a folder with more than one file, in the order of their names)
also gives a video, named like the stream or folder. All its frames share one colour scale: that
of the first frame, or --depth_range.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys

from bicross_jax import cli, errors


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Arguments, checked as far as that goes without opening a file; see --help."""
  parser = cli.Parser(
    "predict.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("inputs", nargs="+", help="files, or folders of files")
  add("--checkpoint", required=True, help="a run's folder, or one checkpoint in it")
  add("--output", required=True, type=pathlib.Path, help="folder for the results")
  add("--start", type=int, default=0, help="first step of a stream's (first) window")
  add("--stride", type=int, help="steps from one window to the next (default: one window only)")
  add("--height", type=int, default=250, help="rows of a .dat stream (default 250)")
  add("--width", type=int, default=400, help="columns of a .dat stream (default 400)")
  add("--video", choices=("mp4", "gif", "none"), default="mp4", help="of a sequence (default mp4)")
  add("--fps", type=float, default=10.0, help="frames a second of the video (default 10)")
  add(
    "--depth_range",
    type=float,
    nargs=2,
    metavar=("LOW", "HIGH"),
    help="metres that the colours of pictures and videos span",
  )
  args = parser.parse_args(argv)
  if args.start < 0:
    parser.error(f"--start {args.start} is negative")
  if args.stride is not None and args.stride < 1:
    parser.error(f"--stride {args.stride} is not positive")
  if not 0 < args.fps <= 1000:
    parser.error(f"--fps {args.fps:g} is not in 0 .. 1000")
  if args.depth_range and not 0 < args.depth_range[0] < args.depth_range[1] < float("inf"):
    parser.error("--depth_range needs 0 < LOW < HIGH")
  for path in (args.checkpoint, *args.inputs):
    if not pathlib.Path(path).exists():
      raise errors.UserError(f"no file or folder {path}")
  return args


def main(argv: Sequence[str]) -> int:
  """Predicts what the arguments say; returns the exit status."""
  args = parse(argv)

  import tqdm

  from bicross_jax import inference
  from bicross_jax.commands import predict
  from bicross_jax.viz import colour, film, video

  model = inference.load(args.checkpoint)
  scale = colour.Scale(*args.depth_range) if args.depth_range else None
  total, videos = 0, 0

  def written(name, results, count):
    """Writes results as they pass; yields them as frames of a film."""
    low, high = float("inf"), 0.0
    with tqdm.tqdm(results, total=count, desc=name, unit="map", disable=count == 1) as bar:
      for key, result in bar:
        predict.write(args.output, key, result)
        if args.stride is None:
          predict.write_picture(args.output, key, result, scale)
        depth = result["prediction"]
        low, high = min(low, depth.min()), max(high, depth.max())
        yield {"key": key, **result}
    tqdm.tqdm.write(f"{name}: depth {low:.1f} to {high:.1f} m")

  for name, count, results in _sequences(args, model):
    maps = written(name, results, count)
    total += count
    if count > 1 and args.video != "none":
      video.write(args.output / f"{name}.{args.video}", film.frames(maps, scale), args.fps)
      videos += 1
    else:
      for _ in maps:
        pass
  made = "depth and uncertainty" + (" and picture" if args.stride is None else "")
  print(
    f"written: {total} x {made}" + (f", {videos} video(s)" if videos else "") + f" in {args.output}"
  )
  return 0


def _sequences(args, model):
  """(name, number of maps, iterator of (name, result)) of every sequence in the inputs."""
  from bicross_jax.commands import predict
  from bicross_jax.data.formats import spikes

  modality = model.config.input.modality
  if args.stride is not None and modality != "spike":
    raise errors.UserError(f"--stride is for spike streams; this network takes {modality} input")
  size = {"height": args.height, "width": args.width}
  for source in predict.find_inputs(args.inputs, modality):
    if args.stride is None:
      yield (
        source.name,
        len(source.paths),
        predict.predict_frames(model, source.paths, start=args.start, **size),
      )
      continue
    for path in source.paths:
      stream = spikes.open_stream(path, **size)
      starts = predict.window_starts(stream, model.config.data.steps, args.start, args.stride)
      yield path.stem, len(starts), predict.predict_windows(model, stream, starts)


if __name__ == "__main__":
  sys.exit(cli.run(main))
