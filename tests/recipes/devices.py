"""Recipes on one device under the axis of devices, and scripts on four."""

import os
import pathlib
import subprocess
import sys

import jax

from bicross_jax.train.state import AXIS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def on_one(f):
  """f on the only device of the axis that losses pool over, compiled; leaves of `local` keep that axis."""

  def run(*arguments):
    lead = lambda tree: jax.tree.map(lambda x: x[None], tree)
    out = jax.vmap(f, axis_name=AXIS)(*map(lead, arguments))
    return jax.tree.map(lambda x: x[0], out)

  return jax.jit(run)


def on_four(script: str, *words: str) -> None:
  """Runs a script in a process of its own, on four devices; it must say "equal" in the end."""
  flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
  done = subprocess.run(
    [sys.executable, "-c", script, *words],
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert done.stdout.startswith("equal"), done.stderr[-3000:]
