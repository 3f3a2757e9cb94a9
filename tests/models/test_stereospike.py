"""StereoSpike's networks: the exact vectors, their sizes, their state, what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import models
from bicross_jax.losses import residual
from bicross_jax.models import stereospike
from tests.golden import stereospike as golden

SMALL = dict(width=2)
PLIF = dict(neuron="plif", bottleneck_neuron="plif")
X = np.random.default_rng(0).integers(0, 4, (2, 2, 12, 17, 4)).astype(np.float32)


def _network(key=0, **options):
  network = models.create("stereospike", **{**SMALL, **options})
  shape = (1, 1, 12, 17, network.in_channels)
  return network, models.init(network, jax.random.key(key), shape)


@functools.cache
def _run(network):
  """The network, compiled."""
  return jax.jit(network.apply)


def _sums(output, step=-1):
  return [np.asarray(depth[step], np.float64).sum() for depth in output.depths]


def _loss(params, network):
  depth, known = golden.truth()
  output = network.apply({"params": params}, golden.events())
  maps = [d[-1] for d in output.depths]
  parts = residual.several(maps, depth, known, weights=(1,) * 4)
  return sum(parts.values()), output


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 4.0])
def test_the_exact_vectors_of_one_step(alpha):
  """Spikes, sums and pixels to the last bit; losses and gradients of all parameters."""
  network = models.create("stereospike", bottleneck_alpha=alpha)
  step = jax.jit(jax.value_and_grad(lambda p: _loss(p, network), has_aux=True))
  (loss, output), gradient = step(golden.params())
  for name, (total, entries, largest) in golden.ACTIVITY.items():
    x = np.asarray(output.activity[name])
    assert (x.sum(dtype=np.float64), (x != 0).sum(), x.max()) == (total, entries, largest), name
  depth, known = golden.truth()
  assert known.sum() == 67175 and depth[known].sum(dtype=np.float64) == 335085.84375
  for got, want in zip(output.depths, golden.DEPTHS, strict=True):
    total, squares, least, largest, pixels, variance, edges = want
    x = np.asarray(got[0, 0], np.float64)
    assert (x.sum(), x.min(), x.max()) == (total, least, largest)
    assert (x**2).sum() == pytest.approx(squares, rel=1e-9)
    assert tuple(x[place] for place in golden.PIXELS) == pixels
    assert float(residual.variance(got[0], depth, known)) == pytest.approx(variance, rel=1e-5)
    assert float(residual.gradient_matching(got[0], depth, known)) == pytest.approx(edges, rel=1e-5)
  assert float(loss) == pytest.approx(golden.TOTAL_LOSS, rel=1e-5)
  assert float(np.abs(output.depth - depth)[known].mean()) == pytest.approx(golden.MDE, rel=1e-5)
  names = ("bottleneck_1", "add4", "add3", "add2", "add1")
  penalty = residual.activity({name: output.activity[name] for name in names})
  assert float(penalty) == pytest.approx(golden.PENALTY, rel=1e-5)
  for i, x in enumerate(golden.in_order(gradient)):
    norm = float(np.linalg.norm(np.asarray(x, np.float64)))
    assert norm == pytest.approx(golden.GRADIENTS[i][alpha == 4], rel=1e-5), i
    assert x.ndim > 1 or x < 0, i  # of a head's bias


@pytest.mark.slow
def test_the_exact_vectors_of_parametric_neurons_over_two_steps():
  """Leak, hard reset and the integrator's carry; two calls, and one call with both steps."""
  network = models.create("stereospike", **PLIF, tau=2.0, multiply_factor=2.0)
  variables, x = {"params": golden.params(leaky=True)}, jnp.asarray(golden.events())
  run = jax.jit(network.apply)
  first = run(variables, x)
  second = run(variables, x, first.state)
  assert [_sums(o) for o in (first, second)] == [list(want) for want in golden.TWO_STEPS]
  for name, (total, entries, largest) in golden.ACTIVITY.items():
    y = np.asarray(first.activity[name])
    assert (y.sum(dtype=np.float64), (y != 0).sum(), y.max()) == (total, entries, largest), name
  assert {n: float(second.activity[n].sum()) for n in golden.SECOND} == golden.SECOND
  entries = {n: int((second.activity[n] != 0).sum()) for n in golden.SECOND_ENTRIES}
  assert entries == golden.SECOND_ENTRIES
  at = [float(second.depth[0][place]) for place in golden.PIXELS]
  assert tuple(at) == golden.SECOND_PIXELS
  with jax.default_matmul_precision("highest"):  # Winograd's rounding decides at the threshold
    both = jax.jit(network.apply)(variables, jnp.concatenate([x, x]))
  assert [_sums(both, t) for t in range(2)] == [list(want) for want in golden.TWO_STEPS]


@pytest.mark.slow
def test_the_exact_vectors_of_one_camera():
  network = models.create("stereospike", **PLIF, in_channels=2, tau=2.0, multiply_factor=2.0)
  variables = {"params": golden.params(1, leaky=True)}
  output = jax.jit(network.apply)(variables, golden.events()[..., :2])
  assert _sums(output) == list(golden.MONOCULAR)


@pytest.mark.slow
def test_the_sums_of_the_analogue_network():
  network = models.create("stereospike_ann")
  variables = models.init(network, jax.random.key(0), (1, 1, 64, 64, 4))
  drawn = golden.params(biases=True)
  variables = {**variables, "params": {**variables["params"], **drawn}}
  x = jnp.asarray(golden.events())
  output = jax.jit(network.apply)(variables, x)
  assert _sums(output) == pytest.approx(golden.ANN_EVAL, rel=2e-5)
  train = lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"])[0]
  output = jax.vmap(train, in_axes=(None, 0), axis_name="batch")(variables, x[None])
  sums = _sums(jax.tree.map(lambda leaf: leaf[0], output))
  assert sums == pytest.approx(golden.ANN_TRAIN, rel=2e-5)


@pytest.mark.parametrize(
  "name, options, params",
  [
    ("stereospike", {}, 18_148_708),
    ("stereospike", dict(bottleneck_neuron="plif", neuron="lif"), 18_148_712),
    ("stereospike", PLIF, 18_148_721),
    ("stereospike", dict(PLIF, in_channels=2), 18_147_121),
    ("stereospike_ann", {}, 18_158_788),
  ],
)
def test_published_sizes(name, options, params):
  network = models.create(name, **options)
  x = jax.ShapeDtypeStruct((1, 1, 32, 32, network.in_channels), jnp.float32)
  variables = jax.eval_shape(network.init, jax.random.key(0), x)
  assert sum(x.size for x in jax.tree.leaves(variables["params"])) == params


def test_weights_begin_as_pytorch_draws_them():
  """Uniform between +-1 / sqrt(inputs of an output), and the leak that tau says."""
  network = models.create("stereospike", width=8, **PLIF)
  params = models.init(network, jax.random.key(1), (1, 1, 32, 32, 4))["params"]
  inputs = {"bottom": 4 * 25, "conv1": 8 * 25, "conv4": 64 * 25, "bottleneck_0_conv1": 128 * 9}
  for name, n in inputs.items():
    largest = np.abs(params[name]["kernel"]).max()
    assert 0.97 * n**-0.5 < largest <= 1.001 * n**-0.5
  for k, n in ((4, 64 * 9), (1, 8 * 9)):
    head = params[f"predict_depth{k}"]["conv"]
    assert 0.9 * n**-0.5 < np.abs(head["kernel"]).max() <= 1.001 * n**-0.5
    assert 0 < np.abs(head["bias"]).max() <= 1.001 * n**-0.5
  assert float(params["conv2_neuron"]["w"]) == pytest.approx(-np.log(2), rel=1e-6)  # tau = 3


def test_the_analogue_network_begins_with_norms_that_do_nothing():
  network = models.create("stereospike_ann", **SMALL)
  params = models.init(network, jax.random.key(0), (1, 1, 32, 32, 4))["params"]
  assert not params["conv2_norm"]["bias"].any() and (params["conv2_norm"]["scale"] == 1).all()
  assert 0 < np.abs(params["conv2"]["bias"]).max() <= (4 * 25) ** -0.5


@pytest.mark.parametrize("options", [PLIF, dict(neuron="lif", reset="soft")], ids=["plif", "soft"])
def test_windows_with_carried_state_are_one_long_window(options):
  network, variables = _network(**options, multiply_factor=4.0)
  whole = _run(network)(variables, X)
  state, steps = None, []
  for x in X:
    output = _run(network)(variables, x[None], state)
    state = output.state
    steps.append(output)
  for t, output in enumerate(steps):
    for a, b in zip(whole.depths, output.depths, strict=True):
      np.testing.assert_allclose(a[t], b[0], atol=1e-4)
    for name, x in output.activity.items():
      np.testing.assert_array_equal(whole.activity[name][t], x[0], err_msg=name)
  np.testing.assert_array_equal(whole.depth, whole.depths[0][-1])
  np.testing.assert_allclose(state["depth"], whole.depth, atol=1e-4)


def test_examples_do_not_see_each_other():
  network, variables = _network(multiply_factor=4.0)
  both, one = _run(network)(variables, X), _run(network)(variables, X[:, 1:])
  np.testing.assert_allclose(both.depth[1:], one.depth, atol=1e-4)


@pytest.mark.parametrize("connect", stereospike.CONNECTIONS)
def test_blocks_join_as_their_names_say(connect):
  """Of spikes that are 0 or 1; "or" is 1 where either is."""
  out, z = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 1])
  want = dict(add=out + z, iand=(1 - out) * z)
  want |= {"and": out * z, "or": np.maximum(out, z)}
  np.testing.assert_array_equal(stereospike.CONNECTIONS[connect](out, z), want[connect])
  network, variables = _network(connect=connect, multiply_factor=4.0)
  assert np.isfinite(_run(network)(variables, X).depth).all()


def test_ablations():
  """Without skips sums are the decoder's own; heads that are left out have no map and no weights."""
  network, variables = _network(skips=False, heads=(1, 3), multiply_factor=4.0)
  output = _run(network)(variables, X)
  np.testing.assert_array_equal(output.activity["add2"], output.activity["deconv2"])
  assert len(output.depths) == 2
  assert {n for n in variables["params"] if "predict" in n} == {"predict_depth1", "predict_depth3"}


def test_a_head_is_trained_by_its_own_map_and_all_finer_ones():
  """Of one integrator that all feed, the deepest first, time step by time step."""
  heads = {k: jnp.full((2, 1, 1, 1), 10.0**k) for k in (1, 2, 4)}
  maps = stereospike.read_out(heads, jnp.full((1, 1, 1), 5.0))
  assert [x.ravel().tolist() for x in maps] == [[10115, 20225], [10105, 20215], [10005, 20115]]
  for i, trained in enumerate(((1, 2, 4), (2, 4), (4,))):
    last = lambda heads, i=i: stereospike.read_out(heads, jnp.zeros((1, 1, 1)))[i][0].sum()
    gradient = jax.grad(last)(heads)
    assert tuple(k for k, x in gradient.items() if x[0].any()) == trained


def test_the_analogue_network_normalises_over_time_and_keeps_no_potential():
  network = models.create("stereospike_ann", **SMALL)
  variables = models.init(network, jax.random.key(0), (1, 1, 12, 17, 4))
  train = lambda x: network.apply(variables, x, train=True, mutable=["batch_stats"])
  output, _ = jax.jit(jax.vmap(train, axis_name="batch"))(X[None])
  x = np.asarray(output.activity["conv2"][0])
  np.testing.assert_allclose(x.mean((0, 1, 2, 3)), 0, atol=1e-4)
  assert set(output.state) == {"depth"}


def test_what_cannot_be_is_refused():
  network, variables = _network()
  state = _run(network)(variables, X).state
  for wrong, said in (
    *(({**state, "depth": jnp.zeros(s)}, "does not fit") for s in ((1, 12, 17), (5, 7), (0,))),
    ({n: x for n, x in state.items() if n != "conv1"}, "does not fit the network"),
  ):
    with pytest.raises(ValueError, match=said):
      jax.eval_shape(network.apply, variables, X, wrong)
  with pytest.raises(ValueError, match=r"an input is \[T, B, H, W, 4\], not \(2, 12, 17, 4\)"):
    _run(network)(variables, X[0])
  for options, said in (
    (dict(connect="xor"), "no connection 'xor'"),
    (dict(heads=(0,)), "choose from 1 to 4"),
    (dict(reset="none"), "choose hard or soft"),
  ):
    with pytest.raises(ValueError, match=said):
      _network(**options)
