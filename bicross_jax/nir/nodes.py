"""Layers of ours as nodes of NIR: convolutions (with a norm folded in) and neurons."""

from typing import NamedTuple

import numpy as np

DT = 1.0  # of the graphs written here: their unit of time is one time step


class Norm(NamedTuple):
  """A batch norm in use, float[C] each: (x - mean) / sqrt(variance + epsilon) * scale + bias."""

  mean: np.ndarray
  variance: np.ndarray
  scale: np.ndarray
  bias: np.ndarray
  epsilon: float = 1e-5


def conv2d(
  kernel: np.ndarray,
  bias: np.ndarray | None,
  size: tuple[int, int],
  *,
  stride: int = 1,
  padding: int = 0,
  gain: float = 1.0,
  norm: Norm | None = None,
):
  """A `nir.Conv2d` that does what a convolution, a factor and a norm do one after the other.

  Args:
    kernel: float[k, k, C, D].
    bias: float[D], or None for 0.
    size: height and width of the input.
    stride, padding: in both directions, zeros on every side.
    gain: what the result, with its bias, is multiplied by.
    norm: what follows that.
  """
  import nir

  weight = np.asarray(kernel, np.float64).transpose(3, 2, 0, 1) * gain
  shift = np.zeros(len(weight)) if bias is None else np.asarray(bias, np.float64) * gain
  if norm is not None:
    factor = norm.scale / np.sqrt(np.asarray(norm.variance, np.float64) + norm.epsilon)
    weight, shift = weight * factor[:, None, None, None], (shift - norm.mean) * factor + norm.bias
  return nir.Conv2d(
    input_shape=size,
    weight=weight.astype(np.float32),
    stride=(stride, stride),
    padding=(padding, padding),
    dilation=(1, 1),
    groups=1,
    bias=shift.astype(np.float32),
  )


def neurons(
  shape: tuple[int, ...],
  *,
  threshold: float,
  reset: float,
  tau: float | None = None,
  decay_input: bool = True,
):
  """A `nir.IF`, or with a time constant a `nir.LIF`, that fires exactly when a layer of ours does.

  Ours charges by H = V + X, or H = V + (X - (V - reset)) / tau, fires where H >= threshold, and is
  set to `reset`. That is Euler's method for NIR's equations with dt = 1, v_leak = v_reset = reset
  and r = 1 (r = tau without `decay_input`). NIR fires where v > v_threshold, so v_threshold is the
  float32 next below the threshold.

  Args:
    shape: of the layer, [C, H, W]; NIR wants every parameter for every neuron.
    threshold, reset: potentials.
    tau: time constant in steps; None: no leak.
    decay_input: whether the input is divided by tau too.
  """
  import nir

  full = lambda value: np.full(shape, value, np.float32)
  v_threshold = full(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
  if tau is None:
    return nir.IF(r=full(1), v_threshold=v_threshold, v_reset=full(reset))
  return nir.LIF(
    tau=full(tau),
    r=full(1 if decay_input else tau),
    v_leak=full(reset),
    v_threshold=v_threshold,
    v_reset=full(reset),
  )
