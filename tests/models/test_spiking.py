"""Spiking neurons: against their equations in NumPy, against SpikingJelly's numbers, against themselves."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.models import spiking
from bicross_jax.ops import surrogate
from tests.golden import weights

ATAN, SIGMOID = surrogate.create("atan"), surrogate.create("sigmoid")
GOLDEN = weights.load("spiking_neurons")
SETTINGS = [
  spiking.Neuron(kind, 3.0, threshold, reset, detach, decay, chosen)
  for kind, threshold, reset, detach, decay, chosen in itertools.product(
    ("if", "lif", "plif"), (1.0, 0.5), (0.0, -0.2, None), (True, False), (True, False), (ATAN,)
  )
  if kind != "if" or decay
]
FEW = SETTINGS[::5]
CASES = [  # of which every fourth is fast
  pytest.param(name, marks=[pytest.mark.slow] if i % 4 else [])
  for i, name in enumerate(GOLDEN.spec["config"]["cases"])
]


def _name(neuron):
  reset = "soft" if neuron.reset is None else f"to{neuron.reset}"
  flags = ("detach" if neuron.detach else "") + ("decay" if neuron.decay_input else "")
  return f"{neuron.kind}-{neuron.threshold}-{reset}-{flags}"


def _by_hand(neuron, w, v, x, of_spikes, of_last):
  """Spikes, last potential and gradients by x, v and w: the closed forms, in float64, step by step."""
  rest, leak = neuron.reset or 0.0, 1 / neuron.tau
  if neuron.kind == "plif":
    leak = 1 / (1 + np.exp(-w))
  spikes, charged, before = [], [], []
  for current in x:
    before.append(v)
    if neuron.kind == "if":
      h = v + current
    elif neuron.decay_input:
      h = v + leak * (current - (v - rest))
    else:
      h = v - leak * (v - rest) + current
    s = (h >= neuron.threshold).astype(float)
    v = h - neuron.threshold * s if neuron.reset is None else (1 - s) * h + s * rest
    spikes.append(s)
    charged.append(h)
  g, of_x, of_w = of_last, [], 0.0
  for t in reversed(range(len(x))):
    h, s = charged[t], spikes[t]
    slope = 1 / (1 + (np.pi * (h - neuron.threshold)) ** 2)  # ATan, alpha = 2
    if neuron.reset is None:
      inner = 0 if neuron.detach else -neuron.threshold * g
      of_h = (of_spikes[t] + inner) * slope + g
    else:
      inner = 0 if neuron.detach else g * (rest - h)
      of_h = (of_spikes[t] + inner) * slope + g * (1 - s)
    if neuron.kind == "if":
      of_x.append(of_h)
      g = of_h
      continue
    of_x.append(leak * of_h if neuron.decay_input else of_h)
    driven = (x[t] if neuron.decay_input else 0) - (before[t] - rest)
    of_w += leak * (1 - leak) * (of_h * driven).sum()
    g = (1 - leak) * of_h
  return np.array(spikes), v, np.array(of_x[::-1]), g, of_w


def _case(steps=7, shape=(3, 37), seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(0.4, 0.8, (steps, *shape)).astype(np.float32)
  of_spikes, v = rng.normal(size=x.shape), rng.uniform(-0.2, 0.8, shape)
  return x, v.astype(np.float32), of_spikes.astype(np.float32), rng.normal(size=shape)


def _loss(function, neuron, of_spikes, of_last):
  def loss(params, v, x):
    spikes, last = function(neuron, params, v, x)
    return (spikes * of_spikes).sum() + (last * of_last).sum(), (spikes, last)

  return loss


def _steps(neuron, params, v, x):
  """`run` by repeated `step`, differentiated by JAX."""
  v, spikes = jax.lax.scan(lambda v, x: spiking.step(neuron, params, v, x)[::-1], v, x)
  return spikes, v


def _params(neuron):
  return {"w": jnp.float32(-0.4)} if neuron.kind == "plif" else {}


@pytest.mark.parametrize("neuron", FEW, ids=_name)
def test_spikes_and_gradients_are_those_of_the_equations(neuron):
  x, v, of_spikes, of_last = _case()
  want = _by_hand(neuron, -0.4, v.astype(float), x.astype(float), of_spikes, of_last)
  for function in (spiking.run, _steps):
    loss = jax.value_and_grad(_loss(function, neuron, of_spikes, of_last), (0, 1, 2), has_aux=True)
    (_, (spikes, last)), (of_params, of_v, of_x) = loss(_params(neuron), v, x)
    np.testing.assert_array_equal(spikes, want[0])
    np.testing.assert_allclose(last, want[1], atol=1e-5)
    np.testing.assert_allclose(of_x, want[2], atol=2e-5)
    np.testing.assert_allclose(of_v, want[3], atol=2e-5)
    if neuron.kind == "plif":
      assert float(of_params["w"]) == pytest.approx(want[4], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_spikingjelly(name):
  """A loss on the spikes and on the potentials of all steps, so by single steps."""
  case, out = GOLDEN.spec["config"]["cases"][name], GOLDEN.outputs
  kind, alpha = case["surrogate"]
  neuron = spiking.Neuron(
    case["neuron"],
    case.get("tau", 2.0),
    case["v_threshold"],
    case["v_reset"],
    case["detach_reset"],
    case.get("decay_input", True),
    surrogate.create(kind, alpha=alpha),
  )
  params = spiking.initial_params(neuron)
  fresh = spiking.initial(neuron, out["x"].shape[1:])

  def loss(x, params):
    def one(v, x):
      spikes, v = spiking.step(neuron, params, v, x)
      return v, (spikes, v)

    last, (spikes, all_v) = jax.lax.scan(one, fresh, x)
    return (spikes * out["w_spikes"]).sum() + (all_v * out["w_v"]).sum(), (spikes, last)

  (of_x, of_params), (spikes, last) = jax.grad(loss, (0, 1), has_aux=True)(out["x"], params)
  np.testing.assert_array_equal(spikes, out[f"{name}/spikes"])
  np.testing.assert_allclose(last, out[f"{name}/v"], atol=1e-5)
  want = out[f"{name}/grad_x"]
  np.testing.assert_allclose(of_x[:, : want.shape[1]], want, atol=1e-4 * np.abs(want).max())
  if case["neuron"] == "plif":
    want = float(out[f"{name}/grad_w"].ravel()[0])
    assert float(of_params["w"]) == pytest.approx(want, rel=1e-4)
  again, _ = spiking.run(neuron, params, fresh, out["x"])
  np.testing.assert_array_equal(again, spikes)


@pytest.mark.parametrize("steps", [1, 7, 65])
@pytest.mark.parametrize("neuron", FEW[1::4], ids=_name)
def test_pieces_with_carried_state_are_the_whole(neuron, steps):
  """Spikes, last potential, and gradients through the cut."""
  x, v, of_spikes, of_last = _case(steps, (3, 5), 1)
  cut = steps // 2

  def pieces(neuron, params, v, x):
    first, v = spiking.run(neuron, params, v, x[:cut]) if cut else (x[:0], v)
    second, v = spiking.run(neuron, params, v, x[cut:])
    return jnp.concatenate([first, second]), v

  found = [
    jax.jit(jax.value_and_grad(_loss(f, neuron, of_spikes, of_last), (0, 1, 2), has_aux=True))(
      _params(neuron), v, x
    )
    for f in (spiking.run, pieces)
  ]
  for a, b in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4 * max(1, np.abs(a).max()))


def test_a_neuron_fires_at_its_threshold():
  """Equality fires, and a charge of less does not, over several steps without leak."""
  neuron = spiking.Neuron("if")
  x = jnp.array([[0.25, 1.0, 0.75]] * 4)
  spikes, v = spiking.run(neuron, {}, jnp.zeros(3), x)
  assert spikes.T.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 1]]
  assert v.tolist() == [0, 0, 0]
  soft, v = spiking.run(neuron._replace(reset=None), {}, jnp.zeros(3), x)
  assert soft.T.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]] and v.tolist() == [0, 0, 0]


def test_constant_input_fires_at_the_rate_of_theory():
  """LIF with hard reset: every ceil(ln(x / (x - 1)) / -ln(1 - 1 / tau)) steps."""
  tau, x = 5.0, np.array([1.1, 1.5, 3.0, 0.9], np.float32)
  neuron = spiking.Neuron("lif", tau)
  spikes, _ = spiking.run(neuron, {}, jnp.zeros(4), jnp.broadcast_to(x, (120, 4)))
  period = np.ceil(np.log(x[:3] / (x[:3] - 1)) / -np.log(1 - 1 / tau))
  np.testing.assert_array_equal(spikes.sum(0), [*(120 // period), 0])


def test_the_integrator_never_fires():
  x = jnp.arange(12.0).reshape(4, 3)
  got = spiking.integrate(jnp.array([1.0, 2.0, 3.0]), x)
  np.testing.assert_array_equal(got, np.cumsum(np.asarray(x), 0) + np.array([1, 2, 3]))


def test_what_is_kept_for_the_gradient():
  """Charged potentials; nothing else of the size of time."""
  x, v, *_ = _case(16, (64, 64))
  for kind, kept in (("if", 1), ("lif", 1), ("plif", 1)):
    neuron = spiking.Neuron(kind, 2.0)
    _, pull = jax.vjp(
      functools.partial(spiking.run, neuron), _params(neuron), *[jnp.zeros((64, 64))], x
    )
    large = [leaf for leaf in jax.tree.leaves(pull) if getattr(leaf, "size", 0) >= x.size]
    assert len(large) == kept, kind


@pytest.mark.parametrize("neuron", FEW[:3], ids=_name)
def test_half_precision_follows(neuron):
  x, v, *_ = _case(5)
  spikes, last = spiking.run(neuron, _params(neuron), jnp.asarray(v), x.astype(jnp.bfloat16))
  assert spikes.dtype == jnp.bfloat16 and set(np.unique(np.asarray(spikes, np.float32))) <= {0, 1}
  full, _ = spiking.run(neuron, _params(neuron), v, x)
  assert (np.asarray(spikes, np.float32) == full).mean() > 0.97


@pytest.mark.parametrize("neuron", FEW[1::4], ids=_name)
def test_gradients_in_half_precision_are_near(neuron):
  """Where no spike differs: inputs are sixteenths, and a leak of 1/2 keeps a few bits of them."""
  neuron = neuron._replace(tau=2.0, threshold=1.0, reset=0.0)
  _, _, of_spikes, of_last = _case(3, (5, 31))
  x = np.random.default_rng(3).integers(-8, 25, of_spikes.shape).astype(np.float32) / 16
  params, found = spiking.initial_params(neuron), []
  for dtype in (jnp.float32, jnp.bfloat16):
    loss = jax.value_and_grad(_loss(spiking.run, neuron, of_spikes, of_last), (0, 1, 2), True)
    rest = spiking.initial(neuron, x.shape[1:])
    (_, (spikes, _)), gradients = loss(params, rest, jnp.asarray(x, dtype))
    assert gradients[2].dtype == dtype and gradients[1].dtype == jnp.float32
    found.append((spikes, gradients))
  np.testing.assert_array_equal(found[0][0], found[1][0].astype(jnp.float32))
  for a, b in zip(jax.tree.leaves(found[0][1]), jax.tree.leaves(found[1][1]), strict=True):
    np.testing.assert_allclose(b.astype(jnp.float32), a, atol=0.02 * np.abs(a).max())


def test_a_layer_has_a_leak_of_its_own_and_starts_where_tau_says():
  layer = spiking.Spiking(spiking.Neuron("plif", 3.0))
  x = jnp.ones((4, 2, 3))
  variables = layer.init(jax.random.key(0), x)
  assert variables["params"]["w"].shape == ()
  assert float(jax.nn.sigmoid(variables["params"]["w"])) == pytest.approx(1 / 3)
  assert not spiking.Spiking(spiking.Neuron("lif")).init(jax.random.key(0), x)
  fresh, v = layer.apply(variables, x)
  again, _ = layer.apply(variables, x, spiking.initial(layer.neuron, (2, 3)))
  np.testing.assert_array_equal(fresh, again)
  assert v.shape == (2, 3)


def test_what_cannot_be_is_refused():
  x = jnp.zeros((4, 2, 3))
  with pytest.raises(ValueError, match=r"potentials \(3, 2\) do not fit an input of \(2, 3\)"):
    spiking.run(spiking.Neuron("if"), {}, jnp.zeros((3, 2)), x)
  with pytest.raises(ValueError, match="no neuron 'izhikevich'; choose from if, lif, plif"):
    spiking.initial_params(spiking.Neuron("izhikevich"))
  with pytest.raises(ValueError, match="tau=1.0"):
    spiking.initial_params(spiking.Neuron("lif", 1.0))


@pytest.mark.nightly
@pytest.mark.parametrize("tau", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("neuron", SETTINGS, ids=_name)
def test_neurons_of_spikingjelly_itself(neuron, tau):
  """Spikes, potentials and gradients of SpikingJelly 2.0.0's multi-step neurons on PyTorch."""
  torch = pytest.importorskip("torch")
  jelly = pytest.importorskip("spikingjelly.activation_based.neuron")
  slopes = pytest.importorskip("spikingjelly.activation_based.surrogate")
  neuron = neuron._replace(tau=tau)
  x, _, of_spikes, of_last = _case(32, (4, 257), 2)
  kinds = {"if": jelly.IFNode, "lif": jelly.LIFNode, "plif": jelly.ParametricLIFNode}
  options = dict(
    v_threshold=neuron.threshold,
    v_reset=neuron.reset,
    surrogate_function=slopes.ATan(),
    detach_reset=neuron.detach,
    step_mode="m",
    store_v_seq=True,
  )
  if neuron.kind != "if":
    name = "tau" if neuron.kind == "lif" else "init_tau"
    options |= {name: tau, "decay_input": neuron.decay_input}
  peer = kinds[neuron.kind](**options)
  given = torch.from_numpy(x).requires_grad_()
  spikes = peer(given)
  last = peer.v_seq[-1]
  loss = (spikes * torch.from_numpy(of_spikes)).sum()
  (loss + (last * torch.from_numpy(of_last.astype(np.float32))).sum()).backward()
  params = spiking.initial_params(neuron)
  run = jax.value_and_grad(_loss(spiking.run, neuron, of_spikes, of_last), (0, 2), has_aux=True)
  (_, (got, v)), (of_params, of_x) = run(params, spiking.initial(neuron, x.shape[1:]), x)
  np.testing.assert_array_equal(got, spikes.detach().numpy())
  np.testing.assert_allclose(v, last.detach().numpy(), atol=2e-6)
  want = given.grad.numpy()
  np.testing.assert_allclose(of_x, want, atol=1e-5 * max(1, np.abs(want).max()))
  if neuron.kind == "plif":
    assert float(of_params["w"]) == pytest.approx(float(peer.w.grad), rel=1e-4, abs=1e-3)
