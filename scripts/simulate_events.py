"""Makes events of ordinary video with a simulated event camera; see --help."""

import signal
import sys

from bicross_jax import cli
from bicross_jax.commands.simulate_events import main

if __name__ == "__main__":
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as an interrupt does: tidily
  sys.exit(cli.run(main))
