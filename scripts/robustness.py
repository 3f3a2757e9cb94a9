"""Judges an RGB depth network under corruptions: `bicross_jax.commands.robustness`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.robustness import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
