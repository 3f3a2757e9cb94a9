"""Evaluates a checkpoint, with two baselines: `bicross_jax.commands.evaluate`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.evaluate import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
