"""Every rule of a primitive: the same numbers in ONNX Runtime as in JAX."""

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import export
from bicross_jax.ops import resize, spikes

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (2, 3, 4)).astype(np.float32)
Y = RNG.uniform(0.2, 2, (2, 3, 4)).astype(np.float32)
MAP = RNG.standard_normal((1, 6, 7, 4)).astype(np.float32)
BYTES = RNG.integers(0, 256, (2, 3, 4), np.uint8)
INTS = RNG.integers(-50, 50, (3, 4)).astype(np.int32)
KERNEL = RNG.standard_normal((3, 3, 4, 6)).astype(np.float32)
LAYOUT = ("NHWC", "HWIO", "NHWC")
PLACES = np.array([[0, 5], [1, 2], [4, 1]], np.int32)


def _conv(x, w=KERNEL, strides=(1, 1), padding="SAME", **options):
  return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT, **options)


def _scan(x):
  def body(carry, now):
    carry = 0.5 * carry + now
    return carry, (carry > 0.5, carry * 2)

  return lax.scan(body, jnp.zeros(x.shape[1:]), x)


CASES = {  # what is tested: (function of arrays, arrays)
  "unary": (
    lambda x, y: [
      *(f(x) for f in (jnp.negative, jnp.exp, jnp.tanh, jnp.abs, jnp.sign, jnp.floor, jnp.ceil)),
      *(f(x) for f in (jnp.sin, jnp.cos, jnp.tan, jnp.sinh, jnp.cosh, jnp.arctan, jnp.arcsinh)),
      *(f(y) for f in (jnp.log, jnp.sqrt, lax.rsqrt, jnp.log1p, jnp.exp2, jnp.square)),
      *(f(x) for f in (jnp.expm1, jnp.cbrt, jax.nn.sigmoid, lax.erf, lax.erfc, lax.square)),
      jnp.arcsin(x / 2),
      jnp.arccos(x / 2),
      jnp.arctanh(x / 3),
      jnp.arccosh(y + 1),
    ],
    (X, Y),
  ),
  "activations": (
    lambda x: [
      *(f(x) for f in (nn.relu, nn.elu, nn.gelu, nn.softplus, nn.leaky_relu, nn.softmax, nn.silu)),
      nn.gelu(x, approximate=False),
      jax.nn.log_softmax(x, axis=1),
      jax.nn.logsumexp(x, axis=(0, 2)),
    ],
    (X,),
  ),
  "small numbers": (lambda x: [jnp.expm1(x), jnp.log1p(x)], (np.float32([1e-6, -1e-7, 0, 1e-3]),)),
  "large numbers": (
    lambda x: [jnp.log1p(x), jnp.isfinite(x)],
    (np.float32([1e30, np.inf, np.nan]),),
  ),
  "rounding": (
    lambda x: [jnp.round(x), lax.round(x), jnp.trunc(x), x.astype(jnp.int32)],
    (np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.2]),),
  ),
  "binary": (
    lambda x, y: [
      *(
        f(x, y) for f in (jnp.add, jnp.subtract, jnp.multiply, jnp.divide, jnp.maximum, jnp.minimum)
      ),
      *(jnp.power(y, x), lax.rem(x, y), jnp.arctan2(x, y), jnp.arctan2(x, -y), jnp.hypot(x, y)),
      *(x**3, y**-1, y**-2, jnp.clip(x, -0.5, 1), jnp.mod(x, y)),
      jnp.arctan2(jnp.float32([0, 1]), jnp.zeros_like(x[0, 0, :2])),
    ],
    (X, Y),
  ),
  "comparisons": (
    lambda x, y, b: [
      *(f(x, y) for f in (jnp.equal, jnp.not_equal, jnp.less, jnp.less_equal, jnp.greater)),
      *(x >= y, b >= 100, b == b[:1], (x > y) & (x < 1), (x > y) | (b > 9), (x > y) ^ (b > 100)),
      ~(x > y),
    ],
    (X, Y, BYTES),
  ),
  "whole numbers": (
    lambda b, i: [
      *(b + b, b * b, b - b[::-1], b // 3, i * i, i // 7, i % 7, lax.div(i, 7), lax.rem(i, 7)),
      *(-i, abs(i), jnp.sign(i), i**3, jnp.maximum(i, 5), b.astype(jnp.int8), i.astype(jnp.uint16)),
      *(b & 12, b | 7, b ^ 255, ~b, b >> 3, b << 2, i >> 2, i << 3, lax.shift_right_logical(i, 4)),
      *(
        lax.population_count(b),
        lax.population_count(i),
        lax.population_count(i.astype(jnp.uint16)),
      ),
      i.astype(jnp.uint32) * jnp.uint32(2654435761),
    ],
    (BYTES, INTS),
  ),
  "choices": (
    lambda x, y, b: [
      jnp.where(x > y, x, 3),
      jnp.where(x > y, b, b // 2),
      lax.select_n(b.astype(jnp.int32) % 3, x, y, x * y),
      jnp.where(x > 0, x > 1, y > 1),
      lax.cond(x[0, 0, 0] > 0, lambda z: z + 1, lambda z: z * 2, x),
      lax.cond(x[0, 0, 0] < 0, lambda z: z + 1, lambda z: z * 2, x),
      lax.switch(
        b[0, 0, 0].astype(jnp.int32) % 5 - 1, [lambda z: z, lambda z: z + 1, lambda z: -z], x
      ),
    ],
    (X, Y, BYTES),
  ),
  "shapes": (
    lambda x, y: [
      x.reshape(6, 4),
      x.transpose(2, 0, 1),
      x[:, None, 1:, ::2],
      x[::-1, :, ::-1],
      jnp.concatenate([x, y], 1),
      jnp.stack([x, y], -1),
      jnp.broadcast_to(x[:, :1], (5, 2, 3, 4)),
      x.mean((0, 1))[None] + x[..., :1],
      jnp.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=3),
      jnp.pad(x, ((0, 0), (1, 1), (2, 2)), mode="edge"),
      jnp.pad(x, ((0, 0), (1, 1), (2, 2)), mode="reflect"),
      lax.pad(x, 7.0, ((0, 0, 2), (-1, 2, 1), (1, -1, 0))),
      jnp.roll(x, 2, 2),
      *jnp.split(x, [1, 3], axis=2),
      jnp.tile(x, (1, 2, 1)),
      jnp.repeat(x, 2, 1),
      x + jnp.arange(4.0)[None, None],
    ],
    (X, Y),
  ),
  "products": (
    lambda x, y, i: [
      jnp.einsum("abc,adc->abd", x, y),
      jnp.einsum("abc,cd->dab", x, y[0].T),
      x[0] @ y[1].T,
      jnp.vdot(x, y),
      jnp.einsum("abc,abc->b", x, y),
      i @ i.T,
      nn.Dense(5).apply({"params": {"kernel": np.ones((4, 5), "f"), "bias": np.ones(5, "f")}}, x),
    ],
    (X, Y, INTS),
  ),
  "reductions": (
    lambda x, b, i: [
      *(f(x, axis=(0, 2)) for f in (jnp.sum, jnp.max, jnp.min, jnp.prod, jnp.mean, jnp.std)),
      *(jnp.any(x > 1.9, 1), jnp.all(x > -1, 1), b.sum(), b.max(0), i.sum(1), (x > 0).sum(2)),
      *(jnp.argmax(x, 1), jnp.argmin(x, 2), jnp.argmax(i, 1), jnp.cumsum(x, 1), jnp.cumsum(i, 0)),
      *(lax.cumsum(x, 2, reverse=True), jnp.sort(x, 1), jnp.argsort(x, 2), jnp.median(x)),
      *lax.top_k(x, 2),
    ],
    (X, BYTES, INTS),
  ),
  "convolutions": (
    lambda x: [
      _conv(x),
      _conv(x, strides=(2, 2), padding=((1, 1), (0, 1))),
      _conv(x, padding="VALID", rhs_dilation=(2, 1)),
      _conv(x, KERNEL[:, :, :2], feature_group_count=2),
      _conv(x, KERNEL[:, :, :1, :4], feature_group_count=4),
      _conv(x, padding=((1, 1), (1, 2)), lhs_dilation=(2, 2)),
      _conv(x, strides=(2, 1), padding=((3, 1), (1, 2)), lhs_dilation=(2, 3)),
      _conv(x, padding=((-1, 0), (1, 1))),
      lax.conv_transpose(x, KERNEL, (2, 2), "SAME", dimension_numbers=LAYOUT),
      lax.conv_transpose(x, KERNEL, (2, 2), "VALID", dimension_numbers=LAYOUT),
      nn.Conv(3, (3,)).apply(
        {"params": {"kernel": KERNEL[0, :, :, :3], "bias": np.ones(3, "f")}}, x[0]
      ),
    ],
    (MAP,),
  ),
  "pools": (
    lambda x: [
      nn.max_pool(x, (2, 2), (2, 2)),
      nn.max_pool(x, (3, 3), (2, 2), "SAME"),
      nn.avg_pool(x, (2, 3), (1, 2)),
      nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
    ],
    (MAP,),
  ),
  "gathers": (
    lambda x, m, p: [
      x[:, p[0]],
      jnp.take(x, p, axis=2, mode="clip"),
      x[1, p[:, 0] % 3, p[:, 1] % 4],
      x.at[0, p[:, 0], p[:, 1]].get(mode="fill", fill_value=-1),
      x.at[0, p[:, 0], p[:, 1]].get(mode="clip"),
      jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
      jax.vmap(lambda row, i: row[i])(x, p[:2, 0] % 3),
      m[:, np.array([0, 5, 2])],
      lax.dynamic_slice(m, (0, p[0, 1], p[1, 1], 0), (1, 4, 4, 2)),
      lax.dynamic_slice(x, (0, 2, 1), (2, 2, 2)),
      jax.scipy.ndimage.map_coordinates(m[0, :, :, 0], [p[:, 0] + 0.3, p[:, 1] * 0.7], order=1),
    ],
    (X, MAP, PLACES),
  ),
  "scatters": (
    lambda x, p: [
      x.at[0, p[:, 0], p[:, 1]].set(9.0, mode="drop"),
      x.at[1, p[:, 0] % 2, 0].add(1.0),
      x.at[:, p[:2, 0]].max(jnp.ones((2, 2, 4))),
      jnp.zeros(6).at[p.ravel()].add(2.0),
      lax.dynamic_update_slice(x, x[:1, :2] * 0, (p[0, 0], p[0, 1], 0)),
      x.at[:, 1:].set(0),
      jax.vmap(lambda row, i: row.at[i].set(5.0))(x, p[:2, 0] % 3),
    ],
    (X, PLACES),
  ),
  "loops": (
    lambda x: [
      *jax.tree.leaves(_scan(x)),
      *jax.tree.leaves(lax.scan(lambda c, y: (c + y, c), x[0], x, reverse=True)),
      lax.fori_loop(0, 3, lambda i, c: c * 2 + i, x),
      jax.checkpoint(jnp.sin)(x),
    ],
    (X,),
  ),
  "resizes": (
    lambda x: [
      resize.bilinear(x, (9, 5)),
      resize.bilinear_corners(x, (12, 14)),
      resize.bicubic(x, (9, 9)),
      resize.nearest(x, (4, 9)),
      jax.image.resize(x, (1, 9, 5, 4), "bilinear"),
    ],
    (MAP,),
  ),
  "spikes": (lambda b: [spikes.unpack(b), spikes.bin_counts(b, 8), spikes.rate(b)], (BYTES,)),
}


@pytest.mark.parametrize("case", CASES)
def test_onnx_runtime_gives_what_jax_gives(case):
  function, arrays = CASES[case]
  inputs = {f"x{i}": array for i, array in enumerate(arrays)}

  def named(given):
    with jax.numpy_rank_promotion("allow"):
      results = function(*(given[name] for name in inputs))
    return {f"y{i:02}": result for i, result in enumerate(results)}

  data, found = export.function_to_onnx(named, jax.eval_shape(lambda x: x, inputs), {})
  session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]
  values = session.run(None, {name: inputs[name] for name in found["inputs"]})
  wanted = jax.device_get(jax.jit(named)(inputs))
  for name, have in zip(names, values, strict=True):
    want = wanted[name]
    assert have.dtype == want.dtype and have.shape == want.shape, name
    np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-6, err_msg=name)
