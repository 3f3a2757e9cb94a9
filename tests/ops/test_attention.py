from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import attention


def _plain(q, k, v):
  scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision="highest") * q.shape[-1] ** -0.5
  return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v, precision="highest")


def _drawn(*shape, count=4):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(count)]


@pytest.mark.parametrize("size", [1.0, 60.0])  # of queries: scores of order 1, and of hundreds
def test_value_and_gradients_are_those_of_the_formula(size):
  q, k, v, dy = _drawn(2, 7, 3, 5)
  q = q * size
  want, transposed = jax.vjp(_plain, q, k, v)
  have, ours = jax.vjp(attention.attention, q, k, v)
  np.testing.assert_allclose(have, want, atol=2e-5)
  for a, b in zip(ours(dy), transposed(dy), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def test_bfloat16_keeps_its_type_and_a_float32_softmax():
  q, k, v, dy = (x.astype(jnp.bfloat16) for x in _drawn(1, 300, 2, 4))
  value, transposed = jax.vjp(attention.attention, q, k, v)
  assert value.dtype == jnp.bfloat16
  assert {x.dtype for x in transposed(dy)} == {jnp.dtype(jnp.bfloat16)}
  want = _plain(*(x.astype(jnp.float32) for x in (q, k, v)))
  np.testing.assert_allclose(value.astype(jnp.float32), want, atol=0.02)


def test_no_map_of_all_pairs_is_kept():
  q, k, v, _ = _drawn(1, 50, 2, 4)
  _, transposed = jax.vjp(attention.attention, q, k, v)
  assert max(x.size for x in jax.tree.leaves(transposed)) == q.size


@pytest.mark.parametrize("capability, own", [("8.0", True), ("7.5", False), ("gfx942", False)])
def test_cudnn_is_for_bfloat16_on_modern_nvidia_gpus(capability, own, monkeypatch):
  device = SimpleNamespace(compute_capability=capability)
  monkeypatch.setattr(jax, "local_devices", lambda: [device])
  (q,) = _drawn(1, 9, 2, 16, count=1)
  assert not attention._cudnn_has(q)
  assert attention._cudnn_has(q.astype(jnp.bfloat16)) == own
  with jax.default_matmul_precision("highest"):
    assert not attention._cudnn_has(q.astype(jnp.bfloat16))


@pytest.mark.parametrize("length", [8, 9])
def test_cudnn_agrees(length):
  """Values and gradients, with and without the token that makes the length even."""
  q, k, v, dy = (x.astype(jnp.bfloat16) for x in _drawn(2, length, 3, 16))
  if not attention._cudnn_has(q):
    pytest.skip("no NVIDIA GPU")
  want, transposed = jax.vjp(_plain, *(x.astype(jnp.float32) for x in (q, k, v)))
  have, ours = jax.vjp(attention.attention, q, k, v)
  np.testing.assert_allclose(have.astype(jnp.float32), want, atol=0.03)
  for a, b in zip(ours(dy), transposed(dy.astype(jnp.float32)), strict=True):
    np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.03 * np.abs(b).max())
