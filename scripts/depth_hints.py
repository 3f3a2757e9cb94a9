"""Makes depth hints of stereo pairs, which EPCDepth learns from; see --help."""

import signal
import sys

from bicross_jax import cli
from bicross_jax.commands.depth_hints import main

if __name__ == "__main__":
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as an interrupt does: tidily
  sys.exit(cli.run(main))
