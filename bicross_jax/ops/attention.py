"""Scaled dot-product attention that keeps no map of all pairs for its gradient."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, equation 1), in the type of `q`.

  The softmax is computed in float32. The gradient computes the weights of all pairs anew from the
  logarithm of each row's sum (Dao et al. 2022, section 3.1), which takes less time and memory than
  to write and read them.

  Args:
    q, k, v: [B, heads, N, d].
  """
  return _forward(q, k, v)[0]


def _forward(q, k, v):
  scores = _scores(q, k)
  largest = scores.max(-1, keepdims=True)
  weights = jnp.exp(scores - largest)
  total = weights.sum(-1, keepdims=True)
  y = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(v.dtype), v)
  y = (y / total).astype(q.dtype)
  return y, (q, k, v, y, largest + jnp.log(total))


def _backward(kept, dy):
  q, k, v, y, log_total = kept
  weights = jnp.exp(_scores(q, k) - log_total)
  along = (dy.astype(jnp.float32) * y.astype(jnp.float32)).sum(-1, keepdims=True)
  d_scores = weights * (jnp.einsum("bhqd,bhkd->bhqk", dy, v).astype(jnp.float32) - along)
  d_scores = d_scores.astype(q.dtype)
  scale = q.shape[-1] ** -0.5
  return (
    jnp.einsum("bhqk,bhkd->bhqd", d_scores, k * scale),
    jnp.einsum("bhqk,bhqd->bhkd", d_scores, q * scale),
    jnp.einsum("bhqk,bhqd->bhkd", weights.astype(dy.dtype), dy),
  )


attention.defvjp(_forward, _backward)


def _scores(q, k):
  return jnp.einsum("bhqd,bhkd->bhqk", q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
