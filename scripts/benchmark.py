"""Measures training and prediction of configs side by side: `bicross_jax.commands.benchmark`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.benchmark import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
