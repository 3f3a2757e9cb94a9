"""Measures how active the layers of a spiking network are, and what they cost; see --help."""

import sys

from bicross_jax import cli
from bicross_jax.commands.firing_rates import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
