"""A trained network as an ONNX file: `bicross_jax.commands.export`."""

import sys

from bicross_jax import cli
from bicross_jax.commands.export import main

if __name__ == "__main__":
  sys.exit(cli.run(main))
