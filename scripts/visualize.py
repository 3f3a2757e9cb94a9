"""Pictures and videos of what networks predict: `bicross_jax.commands.visualize`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.visualize import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
