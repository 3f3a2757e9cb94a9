"""bicross_jax: depth from spike, event and ordinary cameras in JAX."""

__version__ = "0.2.0"


def load(path, which: str = "best", plugins=(), changes=()):
  """A trained network from a run's folder or one checkpoint's folder; see `inference.Model`."""
  from bicross_jax import inference

  return inference.load(path, which, plugins, changes)
