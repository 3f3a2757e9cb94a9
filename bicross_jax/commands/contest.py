"""The same work done by several programs, each in a process of its own, timed in turns.

A process makes its work ready, says how, and then does it for a while whenever it is told to.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

from bicross_jax import errors

# What a process makes ready: (call, memory, about). `call` does the work once and waits; `memory` tells the
# most bytes that it held; `about` has `began`, time.perf_counter() when all was imported.
Made = tuple[Callable[[], Any], Callable[[], int], dict[str, Any]]


class Result(NamedTuple):
  """What one contestant did.

  Attributes:
    seconds: of one call, by round.
    ready: seconds from an imported framework to the end of the first call: build, compile.
    memory: bytes, the largest that the process held (of the GPU, where there is one).
    about: versions, device, threads; of ours `flops` of one call, as convolutions and products
      have them, and `peak`, FLOP a second of a product of large matrices.
  """

  seconds: list[float]
  ready: float
  memory: int
  about: dict[str, Any]


def measure(
  contestants: Mapping[str, Sequence[str]], work: str, *, rounds: int, seconds: float
) -> dict[str, Result]:
  """Times contestants in turns; in each turn one call that does not count, then `seconds`.

  Args:
    contestants: {name: arguments of Python}, the module of the process (`serve`) and its own.
    work: what it is, for messages.
    rounds: turns of each.
    seconds: of a turn.

  Raises:
    errors.TrainingError: a process ended early.
  """
  running: dict[str, _Process] = {}
  try:
    for name, argv in contestants.items():
      print(f"{work}: {name} gets ready", file=sys.stderr, flush=True)
      running[name] = _Process(name, argv)
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
      for name, process in running.items():
        taken[name].append(process.ask(seconds)["seconds"])
        said = f"{work}, round {number + 1} of {rounds}: {name} {taken[name][-1]:.3f} s"
        print(said, file=sys.stderr, flush=True)
    return {
      name: Result(taken[name], p.about.pop("ready"), p.ask(0)["memory"], p.about)
      for name, p in running.items()
    }
  finally:
    for process in running.values():
      process.end()


def rows(results: Mapping[str, Result], ours: str) -> dict[str, dict[str, str]]:
  """The lines of a table: medians, and ratios of each median to that of `ours`."""
  own = statistics.median(results[ours].seconds)
  about, out = results[ours].about, {}
  for name, result in results.items():
    median = statistics.median(result.seconds)
    out[name] = {
      "median": f"{median:.3f} s",
      "fastest": f"{min(result.seconds):.3f} s",
      "ratio": f"{median / own:.2f}",
    }
    if "flops" in about:
      out[name]["of peak"] = f"{about['flops'] / median / about['peak']:.0%}"
    out[name] |= {"ready": f"{result.ready:.1f} s", "memory": f"{result.memory / 2**20:.0f} MiB"}
  return out


class _Process:
  """A contestant: answers one line of JSON for each line."""

  def __init__(self, name, argv):
    argv = [sys.executable, *argv]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **path}
    self.name = name
    self.process = subprocess.Popen(
      argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    self.about = self._read()

  def ask(self, seconds: float) -> dict[str, Any]:
    print(seconds, file=self.process.stdin, flush=True)
    return self._read()

  def end(self):
    self.process.kill()
    self.process.communicate()

  def _read(self):
    line = self.process.stdout.readline()
    if not line:
      status = self.process.wait()
      raise errors.TrainingError(f"{self.name} ended with status {status}; what it said is above")
    return json.loads(line)


def serve(make: Callable[[], Made]) -> None:
  """The life of a contestant's process: the module that is run calls this."""
  answers, sys.stdout = sys.stdout, sys.stderr  # frameworks print
  say = lambda **values: print(json.dumps(values), file=answers, flush=True)
  call, memory, about = make()
  began = about.pop("began")
  call()
  say(ready=time.perf_counter() - began, threads=threads(), **about)
  for line in sys.stdin:
    wanted = float(line)
    if not wanted:
      say(memory=memory())
      continue
    call()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < wanted:
      call()
      count += 1
    say(seconds=(time.perf_counter() - began) / count)


def threads() -> int:
  """How many a contestant computes with."""
  return len(os.sched_getaffinity(0))


def host_memory() -> int:
  """The most bytes that this process held."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
