"""StereoSpike under the names of its repository (urancon/StereoSpike, `network/SNN_models.py`).

There a layer is a sequence of a convolution, a factor and neurons, so the convolution is its item 0 and
the neurons, which have a parameter where they are parametric, are its item 2. The factor is no entry
of a state dict: it is the option `multiply_factor`.
"""

from bicross_jax.convert.naming import Naming, Rule, conv
from bicross_jax.convert.network import Network

_SIZE = 64  # pixels, of the input that a network is traced with


def _example(module):
  return 1, 1, _SIZE, _SIZE, module.in_channels


def convolutions() -> list[Rule]:
  """Rules of the convolutions, which the analogue network names alike."""
  return [
    *conv("bottom.0", "params/bottom"),
    *conv("conv{}.0", "params/conv{}"),
    *conv("bottleneck.{}.conv{}.0", "params/bottleneck_{}_conv{}"),
    *conv("deconv{}.0.up.1", "params/deconv{}/conv"),
    *conv("predict_depth{}.0.up.1", "params/predict_depth{}/conv"),
  ]


def network(title: str, rules: list[Rule]) -> Network:
  """How a network of the family is converted, by its rules."""
  naming = Naming(title, mark=r"bottom\.0\.weight", rules=rules, unused=r"(?!)")
  return Network(namings=(naming,), example=_example)


NETWORK = network(
  "StereoSpike",
  [
    *convolutions(),
    Rule("bottom.2.w", "params/bottom_neuron/w"),
    Rule("conv{}.2.w", "params/conv{}_neuron/w"),
    Rule("bottleneck.{}.sn{}.w", "params/bottleneck_{}_conv{}_neuron/w"),
    Rule("deconv{}.2.w", "params/deconv{}_neuron/w"),
  ],
)
