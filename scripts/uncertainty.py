"""Judges what a network says of its own uncertainty: `bicross_jax.commands.uncertainty`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.uncertainty import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
