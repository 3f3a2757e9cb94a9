"""NIR graphs made by hand, and what NIR's equations say about them, in float64 NumPy."""

import nir
import numpy as np


def array(*shape, seed=0, low=-1.0, high=1.0, step=1 / 32):
  """float32 multiples of `step`, whose sums are exact in any order."""
  rng = np.random.default_rng(seed)
  return (rng.integers(low / step, high / step + 1, shape) * step).astype(np.float32)


def conv2d(weight, bias, size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
  return nir.Conv2d(
    input_shape=size,
    weight=weight,
    stride=stride,
    padding=padding,
    dilation=dilation,
    groups=groups,
    bias=bias,
  )


def lif(shape, seed=0, dt=1.0, **fields):
  """A LIF whose parameters all differ from neuron to neuron."""
  values = dict(
    tau=array(*shape, seed=seed, low=1.5, high=4) * dt,
    r=array(*shape, seed=seed + 1, low=0.5, high=2),
    v_leak=array(*shape, seed=seed + 2, low=-0.5, high=0.25),
    v_threshold=array(*shape, seed=seed + 3, low=0.5, high=1),
    v_reset=array(*shape, seed=seed + 4, low=-0.25, high=0.25),
  )
  return nir.LIF(**{k: v.astype(np.float32) for k, v in (values | fields).items()})


def ports(nodes, edges, shape, out, **metadata):
  """A graph with one Input "in" and one Output "out" besides."""
  ends = {"in": nir.Input({"input": np.array(shape)}), "out": nir.Output({"output": np.array(out)})}
  return nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata or {})


def chain(node, shape, out, **metadata):
  """A graph of one node."""
  return ports({"node": node}, [("in", "node"), ("node", "out")], shape, out, **metadata)


def correlate(x, node):
  """A convolution as torch has it, sum by sum: [C, H, W] -> [D, h, w]."""
  weight, bias = np.float64(node.weight), np.float64(node.bias)
  (d, per, kh, kw), (sy, sx), (py, px) = weight.shape, node.stride, node.padding
  (dy, dx), groups = node.dilation, node.groups
  x = np.pad(np.float64(x), ((0, 0), (py, py), (px, px)))
  h = (x.shape[1] - dy * (kh - 1) - 1) // sy + 1
  w = (x.shape[2] - dx * (kw - 1) - 1) // sx + 1
  y = np.zeros((d, h, w))
  for o in range(d):
    first = o // (d // groups) * per
    for i in range(h):
      for j in range(w):
        rows, columns = i * sy + dy * np.arange(kh), j * sx + dx * np.arange(kw)
        seen = x[first : first + per][:, rows][:, :, columns]
        y[o, i, j] = (weight[o] * seen).sum() + bias[o]
  return y


def neurons(x, node, dt):
  """[T, ...] -> spikes (IF, LIF) or potentials (I, LI): Euler's method, v > v_threshold."""
  kind = type(node).__name__
  get = lambda field: np.float64(getattr(node, field))
  fires, leaks = kind in ("IF", "LIF"), kind in ("LI", "LIF")
  v = np.zeros(x.shape[1:]) + (get("v_reset") if fires else get("v_leak") if leaks else 0)
  out = []
  for now in np.float64(x):
    if leaks:
      v = v + dt / get("tau") * (get("v_leak") - v + get("r") * now)
    else:
      v = v + dt * get("r") * now
    z = v > get("v_threshold") if fires else None
    out.append(v if z is None else z)
    v = v if z is None else np.where(z, get("v_reset"), v)
  return np.stack(out).astype(np.float64)
