"""Runs a trained network on files: `bicross_jax.commands.predict`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.predict import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
