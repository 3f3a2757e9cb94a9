"""Trains a stage of a system, and first the stages it stands on: `bicross_jax.commands.train`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.train import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
