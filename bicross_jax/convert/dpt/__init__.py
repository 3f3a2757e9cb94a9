"""How `dpt` is converted: four namings, positions of any grid, a spike stem out of an RGB stem."""

from bicross_jax.convert.dpt import google, huggingface, published
from bicross_jax.convert.network import Network

NETWORK = Network(
  namings=(published.PUBLISHED, huggingface.NAMING, published.TIMM, google.NAMING),
  example=published.example,
  fit=published.resized,
  advise=published.advice,
  fill=published.fillers,
  inflate=published.inflation,
)
