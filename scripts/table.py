"""Trains and tests the rows of a table over several seeds: `bicross_jax.commands.table`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.table import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
