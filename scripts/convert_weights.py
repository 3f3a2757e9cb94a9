"""Weights from and to other frameworks: `bicross_jax.commands.convert`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.convert import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
