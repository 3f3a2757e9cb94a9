"""SimSiam's head against the published one: outputs, the symmetric loss and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, models

NAME = "simsiam_head"


@pytest.fixture(scope="module")
def case(golden):
  return golden.load("akada_simsiam")


@pytest.fixture(scope="module")
def variables(golden, case):
  return convert.from_torch(NAME, golden.weights(case.spec))


def _loss(a, b):
  """Of what the head gives of two views (docs/systems/domain_invariant.md, Losses)."""

  def far(p, z):
    z = jax.lax.stop_gradient(z)
    norms = jnp.linalg.norm(p, axis=-1) * jnp.linalg.norm(z, axis=-1)
    return -jnp.mean((p * z).sum(-1) / norms)

  return 0.5 * (far(a.predicted, b.projected) + far(b.predicted, a.projected))


def test_equals_the_published_head(golden, case, variables):
  """Each view is normalised by its own statistics in training."""
  a, b = (x.transpose(0, 2, 3, 1) for x in golden.inputs_of(case.spec).values())
  head = models.create(NAME)

  @jax.jit
  def all_of_it(a, b):
    of = lambda x: head.apply(variables, x)
    trained = lambda x: head.apply(variables, x, train=True, mutable=["batch_stats"])[0]
    loss, gradients = jax.value_and_grad(lambda a, b: _loss(trained(a), trained(b)), (0, 1))(a, b)
    return of(a), _loss(of(a), of(b)), loss, gradients

  out, loss_eval, loss_train, (grad_a, grad_b) = all_of_it(a, b)
  have = {
    "projected": out.projected,
    "predicted": out.predicted,
    "grad_a": grad_a,
    "grad_b": grad_b,
  }
  for name, x in have.items():
    want = case.outputs[name].transpose(0, 2, 3, 1)
    tolerance = 1e-3 if name.startswith("grad") else 1e-4
    assert np.abs(x - want).max() <= tolerance * np.abs(want).max(), name
  np.testing.assert_allclose(loss_eval, case.outputs["loss_eval"], rtol=1e-4)
  np.testing.assert_allclose(loss_train, case.outputs["loss_train"], rtol=1e-4)


@pytest.mark.parametrize(
  "channels, count", [(12, 660), (24, 2_376), (40, 6_279), (64, 15_679), (176, 115_278)]
)
def test_number_of_parameters(channels, count):
  x = jax.ShapeDtypeStruct((1, 4, 4, channels), jnp.float32)
  head = models.create(NAME, in_channels=channels)
  params = jax.eval_shape(head.init, jax.random.key(0), x)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_weights_go_out_as_they_came_in(golden, case, variables):
  state, back = golden.weights(case.spec), convert.to_torch(NAME, variables)
  assert set(back) == set(state)
  for name, x in back.items():
    np.testing.assert_array_equal(x, state[name], err_msg=name)


def test_fresh_scales_are_those_of_the_authors():
  params = models.init(models.create(NAME, in_channels=64), jax.random.key(0), (1, 2, 2, 64))[
    "params"
  ]
  scale = params["projector3_norm"]["scale"]
  assert 0.02 <= scale.min() < 0.15 and 0.85 < scale.max() <= 1
