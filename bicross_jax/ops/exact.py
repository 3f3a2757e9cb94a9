"""Whether networks are computed as they are written, or by what the backend is fastest at."""

import jax


def asked() -> bool:
  """Whether nothing but XLA's own operations is wanted.

  `jax.default_matmul_precision("highest")` says so: networks are exported under it, trained with
  `--config.conv=exact` under it, and their operations counted.
  """
  return jax.config.jax_default_matmul_precision in ("highest", "float32")
