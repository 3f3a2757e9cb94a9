"""Networks of NIR graphs: every node and whole graphs against NIR's equations in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

nir = pytest.importorskip("nir")

from bicross_jax import nir as ours  # noqa: E402
from bicross_jax.nir import layers  # noqa: E402
from tests.nir import graphs  # noqa: E402

STEPS, ROWS = 6, 2


def _x(*shape, seed=7, **options):
  return graphs.array(STEPS, ROWS, *shape, seed=seed, **options)


def _run(graph, x, dt=None):
  network = ours.create(graph, dt=dt)
  out, state = jax.jit(network.apply)(network.params, network.initial(ROWS), x)
  return {name: np.asarray(y) for name, y in out.items()}, state


def _each(function, x):
  """A function of one example at one step, of all."""
  return np.stack([[function(row) for row in step] for step in x])


@pytest.mark.parametrize(
  "options",
  [
    dict(padding=(1, 1)),
    dict(stride=(2, 1), padding=(2, 0)),
    dict(dilation=(1, 2), padding=(0, 3), groups=2),
  ],
)
def test_convolutions_of_maps(options):
  groups, shape = options.get("groups", 1), (4, 7, 8)
  node = graphs.conv2d(
    graphs.array(6, 4 // groups, 3, 2, seed=1), graphs.array(6, seed=2), shape[1:], **options
  )
  expected = _each(lambda x: graphs.correlate(x, node), _x(*shape))
  # The package takes a kernel for square and its groups for one when it infers types.
  graph = nir.NIRGraph(
    {
      "in": nir.Input({"input": np.array(shape)}),
      "node": node,
      "out": nir.Output({"output": np.array(expected.shape[2:])}),
    },
    [("in", "node"), ("node", "out")],
    type_check=False,
  )
  np.testing.assert_allclose(_run(graph, _x(*shape))[0]["out"], expected, atol=1e-5)


def test_padding_by_name_and_one_axis():
  weight, bias, shape = graphs.array(3, 2, 4, seed=1), graphs.array(3, seed=2), (2, 9)
  for padding, around in (("same", (1, 2)), ("valid", (0, 0))):
    node = nir.Conv1d(9, weight, 1, padding, 1, 1, bias)
    x = np.pad(np.float64(_x(*shape)), ((0, 0),) * 3 + (around,))
    windows = np.lib.stride_tricks.sliding_window_view(x, 4, axis=3)  # [T, B, C, n, k]
    expected = np.einsum("ock,tbcnk->tbon", weight, windows) + bias[:, None]
    found = _run(graphs.chain(node, shape, expected.shape[2:]), _x(*shape))[0]["out"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_linear_maps_pools_and_shapes():
  weight, bias, scale = (graphs.array(*s, seed=1) for s in ((3, 5, 4), (3, 5), (3, 4)))
  x, image = _x(3, 4), _x(2, 6, 5)
  windows = np.lib.stride_tricks.sliding_window_view(
    np.pad(image, ((0, 0),) * 3 + ((1, 1), (0, 0))), (3, 2), axis=(3, 4)
  )[..., ::2, ::1, :, :]
  sums = windows.sum((-1, -2))
  sizes = dict(kernel_size=np.array([3, 2]), stride=np.array([2, 1]), padding=np.array([1, 0]))
  product = np.einsum("goi,tbgi->tbgo", weight, x)
  for node, given, expected in (
    (nir.Linear(weight), x, product),
    (nir.Affine(weight, bias), x, product + bias),
    (nir.Scale(scale), x, x * scale),
    (nir.Flatten({"input": np.array([2, 6, 5])}, 1, -1), image, image.reshape(STEPS, ROWS, 2, 30)),
    (nir.Flatten({"input": np.array([2, 6, 5])}, 0, 1), image, image.reshape(STEPS, ROWS, 12, 5)),
    (nir.SumPool2d(**sizes), image, sums),
    (nir.AvgPool2d(**sizes), image, sums / 6),
    (nir.Threshold(scale), x, x > scale),
  ):
    graph = graphs.chain(node, given.shape[2:], expected.shape[2:])
    found = _run(graph, given)[0]["out"]
    np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=type(node).__name__)


@pytest.mark.parametrize("dt", [1.0, 1e-3])
def test_neurons_follow_their_equations(dt):
  shape = (3, 4)
  full = lambda seed, low, high: graphs.array(*shape, seed=seed, low=low, high=high)
  r, tau, leak = full(1, 0.5, 2), full(2, 2, 4) * np.float32(dt), full(3, -0.5, 0.5)
  x = _x(*shape, low=-1, high=3) + np.float32(1 / 512)
  of_time = np.float32(1 / dt)
  for node in (
    nir.I(r * of_time),
    nir.IF(r * of_time, full(4, 1, 2), full(5, -0.5, 0.5)),
    nir.LI(tau, r, leak),
    graphs.lif(shape, dt=dt),
    graphs.lif(shape, dt=dt, v_reset=np.zeros(shape)),
  ):
    expected = graphs.neurons(x, node, dt)
    graph = graphs.chain(node, shape, shape, dt=dt)
    found, _ = _run(graph, x)
    np.testing.assert_allclose(found["out"], expected, atol=1e-4, err_msg=type(node).__name__)
    if type(node).__name__.endswith("IF"):
      assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(_run(graph, x, dt=dt)[0]["out"], found["out"])


def test_a_neuron_at_its_threshold_does_not_fire():
  x = np.ones((2, 1, 1), np.float32)
  one = np.ones(1, np.float32)
  network = ours.create(graphs.chain(nir.IF(one, one), (1,), (1,)), dt=1)
  found = network.apply(network.params, network.initial(1), x)[0]["out"]
  assert found.ravel().tolist() == [0, 1]


def test_delays_of_whole_steps_each():
  delay = np.float32([[0, 0.002], [0.001, 0.004]])
  x = _x(2, 2)
  expected = np.zeros_like(x)
  for i, j in np.ndindex(2, 2):
    late = round(delay[i, j] / 0.001)
    expected[late:, :, i, j] = x[: STEPS - late, :, i, j]
  graph = graphs.chain(nir.Delay(delay), (2, 2), (2, 2), dt=0.001)
  np.testing.assert_array_equal(_run(graph, x)[0]["out"], expected)
  network = ours.create(graph)
  state, parts = network.initial(ROWS), []
  for t in range(STEPS):
    out, state = network.apply(network.params, state, x[t : t + 1])
    parts.append(out["out"])
  np.testing.assert_array_equal(np.concatenate(parts), expected)
  with pytest.raises(ours.GraphError, match="whole numbers of time steps"):
    ours.create(graph, dt=0.003)


def _branched(inner=False):
  """A convolution, neurons, a branch around two more, and pooling; perhaps in an inner graph."""
  size = (6, 5)
  nodes = {
    "conv": graphs.conv2d(
      graphs.array(3, 2, 3, 3, seed=1), graphs.array(3, seed=2), size, padding=(1, 1)
    ),
    "lif": graphs.lif((3, *size), seed=3),
    "again": graphs.conv2d(
      graphs.array(3, 3, 3, 3, seed=4), graphs.array(3, seed=5), size, padding=(1, 1)
    ),
    "if": nir.IF(*(np.full((3, *size), v, np.float32) for v in (1, 0.75, 0))),
    "last": graphs.conv2d(graphs.array(1, 3, 1, 1, seed=6), graphs.array(1, seed=7), size),
  }
  edges = [("in", "conv"), ("conv", "lif"), ("lif", "again"), ("again", "if"), ("if", "last")]
  edges += [("lif", "last"), ("last", "out")]
  if inner:
    names = ("again", "if")
    graph = graphs.ports(
      {name: nodes.pop(name) for name in names},
      [("in", "again"), ("again", "if"), ("if", "out")],
      (3, *size),
      (3, *size),
    )
    nodes["block"] = graph
    edges = [("in", "conv"), ("conv", "lif"), ("lif", "block"), ("block", "last"), ("lif", "last")]
    edges += [("last", "out")]
  return graphs.ports(nodes, edges, (2, *size), (1, *size), dt=1.0)


def _branched_by_hand(x):
  nodes = _branched().nodes
  conv = lambda name, x: _each(lambda x: graphs.correlate(x, nodes[name]), x)
  first = graphs.neurons(conv("conv", x), nodes["lif"], 1)
  second = graphs.neurons(conv("again", first), nodes["if"], 1)
  assert 0.1 < first.mean() < 0.9 and 0.1 < second.mean() < 0.9
  return conv("last", first + second)


@pytest.mark.parametrize("inner", [False, True])
def test_branches_are_added_and_inner_graphs_taken_apart(inner, tmp_path):
  x = _x(2, 6, 5)
  expected = _branched_by_hand(x)
  path = tmp_path / "net.nir"
  ours.write(path, _branched(inner), {})
  np.testing.assert_allclose(_run(_branched(inner), x)[0]["out"], expected, atol=1e-5)
  np.testing.assert_allclose(_run(ours.read(path), x)[0]["out"], expected, atol=1e-5)


def test_steps_one_by_one_equal_all_at_once_and_train():
  network, x = ours.create(_branched()), _x(2, 6, 5)
  apply = jax.jit(network.apply)
  whole, last = apply(network.params, network.initial(ROWS), x)
  state, parts = network.initial(ROWS), []
  for t in range(STEPS):
    out, state = apply(network.params, state, x[t : t + 1])
    parts.append(out["out"])
  np.testing.assert_array_equal(np.concatenate(parts), whole["out"])
  jax.tree.map(np.testing.assert_array_equal, state, last)

  def loss(params):
    return jnp.sum(network.apply(params, network.initial(ROWS), x)[0]["out"] ** 2)

  gradients = jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, network.params))
  for name in ("conv", "again", "last"):
    assert np.abs(gradients[name]["weight"]).max() > 0
  assert np.abs(gradients["lif"]["tau"]).max() > 0
  assert network.params["if"]["r"].shape == () and network.params["lif"]["r"].shape == (3, 6, 5)


def test_the_gradient_of_a_spike_is_the_derivative_that_was_given():
  slope = jax.vmap(jax.grad(lambda x: layers.spike(jnp.cos, x)))
  x = jnp.float32([-0.5, 0, 0.25])
  np.testing.assert_allclose(slope(x), np.cos(x), rtol=1e-6)
  assert layers.spike(jnp.cos, x).tolist() == [0, 0, 1]


def _edge(source, target):
  graph = _branched()
  graph.edges.append((source, target))
  return graph


def _with(**nodes):
  graph = _branched()
  graph.nodes.update(nodes)
  return graph


def _field(name, field, value):
  graph = _branched()
  setattr(graph.nodes[name], field, value)
  return graph


_FOUR = np.ones(4, np.float32)


@pytest.mark.parametrize(
  ("graph", "words"),
  [
    (lambda: nir.Scale(_FOUR), "a single Scale node"),
    (lambda: _with(**{"if": nir.CubaLIF(*[_FOUR] * 5)}), "not known here: CubaLIF"),
    (lambda: _edge("if", "again"), "a loop.*'again' -> 'if'|a loop.*'if' -> 'again'"),
    (lambda: _edge("if", "absent"), "'absent', which is no node"),
    (lambda: _edge("if", "last"), "two edges from 'if' to 'last'"),
    (lambda: _edge("if", "in"), "'in' is an Input and is fed"),
    (lambda: _edge("in", "last"), "'last'.*different shapes"),
    (lambda: _with(lonely=nir.Scale(_FOUR)), "'lonely': no input"),
    (lambda: nir.NIRGraph({}, []), "no Input"),
    (lambda: _field("lif", "tau", np.zeros((3, 6, 5))), "'lif'.*tau must be above 0"),
    (lambda: _field("lif", "tau", np.array(["a"])), "'lif'.*tau holds no numbers"),
    (lambda: _field("lif", "r", np.arange(5.0)), r"'lif'.*r has shape \(5,\)"),
    (lambda: _field("lif", "r", np.full((3, 6, 5), np.nan)), "'lif'.*not finite"),
    (lambda: _field("conv", "stride", np.array([0, 1])), "'conv'.*stride must be 2 whole"),
    (lambda: _field("conv", "groups", 3), "'conv'.*does not fit"),
    (lambda: _field("conv", "padding", "other"), "'conv'.*padding 'other'"),
    (lambda: _field("conv", "bias", _FOUR), r"'conv'.*bias has shape \(4,\)"),
    (lambda: _field("again", "weight", np.ones((3, 3, 9, 9))), "'again'.*gives a result of shape"),
    (lambda: _field("in", "input_type", {"input": None}), "'in'.*declares no shape"),
  ],
)
def test_graphs_that_cannot_be_computed_say_why(graph, words):
  with pytest.raises(ours.GraphError, match=words) as raised:
    ours.create(graph())
  assert "\n" not in str(raised.value)


def test_a_time_step_must_be_known():
  graph = graphs.chain(graphs.lif((3,)), (3,), (3,))
  with pytest.raises(ours.GraphError, match="how long a time step is"):
    ours.create(graph)
  with pytest.raises(ours.GraphError, match="dt=-1"):
    ours.create(graph, dt=-1)
  ours.create(graphs.chain(nir.Scale(_FOUR), (4,), (4,)))  # asks for none


def test_inputs_of_other_names_or_shapes_are_refused():
  network = ours.create(_branched())
  for x, words in ((_x(2, 6, 6), "is \\[T, B"), ({"other": _x(2, 6, 5)}, "inputs \\['other'\\]")):
    with pytest.raises(ValueError, match=words):
      network.apply(network.params, network.initial(ROWS), x)
