"""Training and prediction speed of configs side by side: images/s, compile time, peak memory.

    python scripts/benchmark.py --config configs/bicross.py:pretrain \\
        --config configs/bicross.py:pretrain,model.dtype=bfloat16
    python scripts/benchmark.py --config configs/bicross.py:pretrain,syn2real,data.batch_size=1 --peer
    python scripts/benchmark.py --config configs/stereospike.py:binocular --peer pytorch
    python scripts/benchmark.py --config configs/epcdepth.py:resnet18_lr,kitti,data.batch_size=1 --peer pytorch
    python scripts/benchmark.py --neurons

Needs no data and no TensorFlow. Ratios are to the first config of the same run; with --peer, the times of
the config's network in other frameworks (all that are installed, or those named) over ours; --neurons
times multi-step LIF neurons beside SpikingJelly's.
"""

import argparse
from collections.abc import Mapping, Sequence
import os
import pathlib
import time
from typing import Any, NamedTuple

from bicross_jax import cli, errors, files
from bicross_jax.commands import cases, contest, neurons, peers
from bicross_jax.config import grammar


class Measured(NamedTuple):
  """What was measured of one config.

  Attributes:
    train, predict: images a second, the best round.
    compile_train, compile_predict: seconds, without the compile cache.
    memory: bytes the compiled training step needs at its peak on one device: arguments, results
      and temporaries that XLA planned.
  """

  train: float
  predict: float
  compile_train: float
  compile_predict: float
  memory: int


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments, with `configs` {spec: config}.

  Raises:
    errors.UserError: a wrong argument or config.
  """
  parser = cli.Parser(
    "benchmark.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--config", action="append", default=[], metavar="FILE[:ARG]", help="once or more")
  add("--neurons", action="store_true", help="time spiking neurons instead of a config's network")
  add(
    "--peer",
    action="append",
    nargs="?",
    const="all",
    metavar="NAME",
    help=f"compare the network instead: {', '.join(peers.PEERS)}",
  )
  add("--json", metavar="FILE", help="with --peer: every timing, as JSON")
  add(
    "--rounds", type=int, default=5, help="timings of each; the best, of peers the median, counts"
  )
  add("--seconds", type=float, default=2.0, help="length of one timing")
  args, rest = parser.parse_known_args(argv)
  if not 1 <= args.rounds <= 10_000:
    raise errors.UserError(f"--rounds {args.rounds}: 1 to 10000 are possible")
  if not 0 < args.seconds <= 3600:
    raise errors.UserError(f"--seconds {args.seconds:g}: more than 0 and at most 3600")
  if bool(args.config) == args.neurons:
    raise errors.UserError("give --config once or more, or --neurons")
  if args.json and not (args.peer or args.neurons):
    raise errors.UserError("--json goes with --peer and --neurons")
  if args.json:
    files.check_output_folder(pathlib.Path(args.json).absolute().parent)
  args.overrides = grammar.overrides_of(rest, "--config.")
  args.configs = {spec: grammar.load(spec, args.overrides) for spec in args.config}
  return args


def main(argv: Sequence[str]) -> int:
  """Measures what the arguments say and prints a table; returns the exit status."""
  args = parse(argv)
  if args.neurons:
    return compare_neurons(args)
  if args.peer:
    return compare(args, peers.chosen(args.peer))

  import jax

  from bicross_jax.evaluation import report
  from bicross_jax.train import devices

  devices.keep_memory()  # as all scripts do
  jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
  device = jax.devices()[0]
  print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}")
  measured = measure(args.configs, rounds=args.rounds, seconds=args.seconds)
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
  print(report.table(rows, tuple(next(iter(rows.values()))), {}))
  return 0


def compare(args: argparse.Namespace, names: Sequence[str]) -> int:
  """Times the networks of configs beside those of other frameworks and prints a table for each."""
  from bicross_jax.evaluation import report

  for config in args.configs.values():
    peers.check(config, names)
  found = []
  for spec, config in args.configs.items():
    for work in peers.works(config):
      results = peers.measure(
        spec, args.overrides, names, work, rounds=args.rounds, seconds=args.seconds
      )
      rows, about = contest.rows(results, peers.OURS), results[peers.OURS].about
      print(f"\n{spec}: {work}")
      print(
        f"{about['device']}, {about['threads']} threads, {about['dtype']}; {about['flops'] / 1e9:.1f} "
        f"GFLOP a call; products of matrices make {about['peak'] / 1e9:.0f} GFLOP/s"
      )
      print(report.table(rows, tuple(rows[peers.OURS]), {}), flush=True)
      values = {name: result._asdict() for name, result in results.items()}
      found.append({"config": spec, "overrides": args.overrides, "work": work, "results": values})
  if args.json:
    files.write_json(args.json, found)
    print(f"written: {errors.shown(args.json)}")
  return 0


def compare_neurons(args: argparse.Namespace) -> int:
  """Times LIF neurons beside SpikingJelly's and prints a table for each work."""
  from bicross_jax.evaluation import report

  neurons.check()
  memory, found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2, []
  for work in neurons.WORKS:
    rows = {}
    for steps, wanted in neurons.SHAPES:
      count = neurons.fitting(steps, wanted, memory)
      results = neurons.measure(steps, count, work, rounds=args.rounds, seconds=args.seconds)
      line = contest.rows(results, neurons.OURS)
      rows[f"T={steps}, N={count}"] = {
        **{name: line[name]["median"] for name in (neurons.OURS, neurons.PEER)},
        "ratio": line[neurons.PEER]["ratio"],
      }
      values = {name: result._asdict() for name, result in results.items()}
      found.append({"steps": steps, "neurons": count, "work": work, "results": values})
    print(f"\nLIF, {work}, {contest.threads()} threads")
    print(report.table(rows, (neurons.OURS, neurons.PEER, "ratio"), {}), flush=True)
  if args.json:
    files.write_json(args.json, found)
    print(f"written: {errors.shown(args.json)}")
  return 0


def measure(
  configs: Mapping[str, Any], *, rounds: int = 5, seconds: float = 2.0
) -> dict[str, Measured]:
  """Times all configs in turns, so that what else the machine does falls on all of them.

  Args:
    configs: label -> config; batches are random numbers of the recipe's
      shapes, a stage that starts from others starts from random weights.
    rounds: how often each is timed; the best counts.
    seconds: length of one timing.

  Returns:
    {label: Measured}.
  """
  ready = {label: cases.Case(config) for label, config in configs.items()}
  steps = {label: case.compile_train() for label, case in ready.items()}
  predictions = {label: case.compile_predict() for label, case in ready.items()}
  best = {label: [0.0, 0.0] for label in ready}
  for _ in range(rounds):
    for label, case in ready.items():
      calls = steps[label][0], predictions[label][0]
      speeds = (case.rows * _rate(call, seconds) for call in calls)
      best[label] = [max(a, b) for a, b in zip(best[label], speeds, strict=True)]
  return {
    label: Measured(*best[label], steps[label][1], predictions[label][1], steps[label][2])
    for label in ready
  }


def _rate(call, seconds):
  """Calls a second."""
  import jax

  jax.block_until_ready(call())
  began, count = time.perf_counter(), 0
  while time.perf_counter() - began < seconds:
    jax.block_until_ready(call())
    count += 1
  return count / (time.perf_counter() - began)
