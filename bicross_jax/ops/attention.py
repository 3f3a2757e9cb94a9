"""Scaled dot-product attention that keeps no map of all pairs for its gradient."""

import jax
import jax.numpy as jnp

from bicross_jax.ops import exact


def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, equation 1), in the type of `q`.

  The softmax is computed in float32. The gradient computes the weights of all pairs anew from the
  logarithm of each row's sum (Dao et al. 2022, section 3.1), which takes less time and memory than
  to write and read them. On NVIDIA GPUs bfloat16 is left to cuDNN, which does so in one kernel
  (unless `ops.exact` is asked for).

  Args:
    q, k, v: [B, N, heads, d].

  Returns:
    [B, N, heads, d].
  """
  if _cudnn_has(q):
    return _cudnn(q, k, v)
  return _written_out(*(x.swapaxes(1, 2) for x in (q, k, v))).swapaxes(1, 2)


def _cudnn_has(q):
  """Whether cuDNN's attention may be used and is to be had: on NVIDIA GPUs since Ampere."""
  capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))  # of AMD's: gfx...
  modern = capability[:1].isdigit() and float(capability) >= 8
  fits = q.dtype == jnp.bfloat16 and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
  return modern and fits and not exact.asked()


def _cudnn(q, k, v):
  """cuDNN's gradient takes even lengths: an odd one gets one more token, which nothing attends to."""
  b, n = q.shape[:2]
  q, k, v = (jnp.pad(x, ((0, 0), (0, n % 2), (0, 0), (0, 0))) for x in (q, k, v))
  length = jnp.full((b,), n, jnp.int32) if n % 2 else None
  y = jax.nn.dot_product_attention(
    q, k, v, query_seq_lengths=length, key_value_seq_lengths=length, implementation="cudnn"
  )
  return y[:, :n]


@jax.custom_vjp
def _written_out(q, k, v):
  """The same with the heads first: [B, heads, N, d]."""
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


_written_out.defvjp(_forward, _backward)


def _scores(q, k):
  return jnp.einsum("bhqd,bhkd->bhqk", q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
