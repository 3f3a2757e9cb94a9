"""Training and prediction speed of configs side by side: images/s, compile time, peak memory.

    python scripts/benchmark.py --config configs/bicross.py:pretrain \\
        --config configs/bicross.py:pretrain,model.dtype=bfloat16

Needs no data and no TensorFlow. Ratios are to the first config of the same run.
"""

import sys

from bicross_jax import cli
from bicross_jax.config import grammar


def main(argv: list[str]) -> int:
  parser = cli.Parser(description=__doc__)
  parser.add_argument(
    "--config",
    action="append",
    required=True,
    metavar="FILE[:ARG]",
    help="may be given several times",
  )
  parser.add_argument("--rounds", type=int, default=5, help="timings of each; the best counts")
  parser.add_argument("--seconds", type=float, default=2.0, help="length of one timing")
  args, rest = parser.parse_known_args(argv)
  overrides = grammar.overrides_of(rest, "--config.")
  configs = {spec: grammar.load(spec, overrides) for spec in args.config}

  import jax

  from bicross_jax.commands import benchmark
  from bicross_jax.evaluation import report

  jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
  device = jax.devices()[0]
  print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}")
  measured = benchmark.measure(configs, rounds=args.rounds, seconds=args.seconds)
  first = next(iter(measured.values()))
  rows = {
    label: {
      "train img/s": f"{m.train:.1f}",
      "ratio": f"{m.train / first.train:.2f}",
      "predict img/s": f"{m.predict:.1f}",
      "ratio ": f"{m.predict / first.predict:.2f}",
      "compile train": f"{m.compile_train:.1f} s",
      "predict": f"{m.compile_predict:.1f} s",
      "step memory": f"{m.memory / 2**20:.0f} MiB",
    }
    for label, m in measured.items()
  }
  print(report.table(rows, tuple(next(iter(rows.values())))))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
