import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.ops import conv

CASES = [  # batch, height, width, channels in and out, kernel, stride, padding
  (2, 40, 33, 64, 66, 3, 1, ((1, 1), (1, 1))),  # all three by Winograd
  (2, 21, 14, 32, 40, 3, 1, ((1, 1), (1, 1))),
  (2, 9, 12, 64, 65, 3, 2, ((1, 1), (1, 1))),  # from here the kernel's gradient by rows
  (2, 9, 12, 65, 64, 3, 2, ((0, 1), (0, 1))),
  (1, 10, 7, 64, 64, 3, 1, ((1, 1), (1, 1))),
  (2, 11, 16, 64, 64, 7, 2, ((3, 3), (2, 3))),
  (2, 10, 7, 32, 32, 3, 1, ((0, 1), (0, 1))),
  (2, 11, 16, 5, 7, 7, 2, ((3, 3), (2, 3))),
  (2, 128, 80, 16, 17, 7, 2, ((2, 3), (2, 3))),  # on more pixels by rows too, few rows at a time
  (3, 83, 79, 17, 16, 3, 1, ((1, 1), (1, 1))),
  (2, 12, 14, 9, 5, 5, 1, ((0, 0), (0, 0))),  # the middle of the padded one
  (2, 12, 14, 65, 64, 3, 1, ((0, 0), (0, 0))),
]


def _plain(x, kernel, stride, padding):
  layout = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=layout)


def _drawn(*shapes):
  rng = np.random.default_rng(0)
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _close(have, want):
  assert np.abs(have - want).max() < 4e-5 * np.abs(want).max()


@pytest.mark.parametrize(
  "shape, features, size, stride, chosen",
  [
    ((1, 96, 96, 64), 64, 3, 1, ["winograd", "winograd", "winograd_kernel_gradient"]),
    ((8, 48, 80, 32), 32, 3, 1, ["winograd_kernel_gradient"]),
    ((8, 96, 160, 16), 16, 7, 2, ["kernel_gradient_by_rows"]),
    ((8, 96, 160, 3), 16, 7, 2, []),  # narrow
    ((8, 24, 40, 16), 16, 3, 2, []),  # few pixels
    ((1, 12, 12, 128), 128, 3, 2, ["kernel_gradient_by_rows"]),  # few pixels, but wide
  ],
)
def test_what_is_faster_is_chosen(shape, features, size, stride, chosen, monkeypatch):
  """For value, input's gradient and kernel's gradient; the rest is left to XLA."""
  seen = []

  def watched(function):
    return lambda *args: seen.append(function.__name__) or function(*args)

  for function in (conv.winograd, conv.winograd_kernel_gradient, conv.kernel_gradient_by_rows):
    monkeypatch.setattr(conv, function.__name__, watched(function))
  padding = ((size // 2,) * 2,) * 2
  given = (shape, (size, size, shape[-1], features))
  x, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in given)
  run = lambda x, w: conv.conv(x, w, stride, padding).sum()
  jax.eval_shape(jax.grad(run, (0, 1)), x, kernel)
  assert seen == chosen


@pytest.mark.parametrize("batch, height, width, c, d, k, stride, padding", CASES)
def test_value_and_gradients_are_those_of_lax(batch, height, width, c, d, k, stride, padding):
  x, kernel = _drawn((batch, height, width, c), (k, k, c, d))
  y = _plain(x, kernel, stride, padding)
  (weight,) = _drawn(y.shape)
  _close(conv.conv(x, kernel, stride, padding), y)
  grads = [
    jax.grad(lambda x, w, f=f: (f(x, w, stride, padding) * weight).sum(), (0, 1))(x, kernel)
    for f in (conv.conv, _plain)
  ]
  for have, want in zip(*grads, strict=True):
    _close(have, want)


@pytest.mark.parametrize("height, width", [(4, 4), (5, 9), (1, 3), (12, 7)])
@pytest.mark.parametrize("band", [conv._BAND, 50])
def test_winograd_against_float64(height, width, band, monkeypatch):
  """Value and kernel gradient, by NumPy, for sizes that tiles do not divide, in bands that tiles do
  not fill."""
  monkeypatch.setattr(conv, "_BAND", band)
  x, kernel, dy = _drawn((2, height, width, 9), (3, 3, 9, 5), (2, height, width, 5))
  padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
  value, gradient = np.zeros(dy.shape), np.zeros(kernel.shape)
  for i in range(3):
    for j in range(3):
      seen = padded[:, i : i + height, j : j + width]
      value += seen @ kernel[i, j].astype(np.float64)
      gradient[i, j] = np.einsum("bhwc,bhwd->cd", seen, dy)
  _close(conv.winograd(jnp.asarray(x), jnp.asarray(kernel)), value)
  _close(conv.winograd_kernel_gradient(jnp.asarray(x), jnp.asarray(dy)), gradient)


@pytest.mark.parametrize("precision, plain", [("highest", True), ("float32", True), (None, False)])
def test_highest_precision_is_lax(precision, plain):
  x, kernel = _drawn((2, 40, 33, 64), (3, 3, 64, 64))
  padding = ((1, 1), (1, 1))
  with jax.default_matmul_precision(precision):
    traced = str(jax.make_jaxpr(lambda x, w: conv.conv(x, w, 1, padding))(x, kernel))
  assert ("conv_general_dilated" in traced) == plain
  assert ("dot_general" in traced) != plain


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("backend, product", [("cpu", (1, 2)), ("gpu", (1,))])
def test_pointwise_is_a_product_where_that_compiles(stride, backend, product, monkeypatch):
  """On GPUs XLA ends the process over a product of every other pixel."""
  x, kernel = _drawn((2, 5, 8, 6), (1, 1, 6, 7))
  want = _plain(x, kernel, stride, ((0, 0), (0, 0)))
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  _close(conv.pointwise(jnp.asarray(x), jnp.asarray(kernel), stride), want)
  traced = str(jax.make_jaxpr(lambda x, w: conv.pointwise(x, w, stride))(x, kernel))
  assert ("dot_general" in traced) == (stride in product)


@pytest.mark.parametrize(
  "height, width, dilation, products",
  [
    (13, 17, 2, 0),
    (16, 20, 4, 0),
    (9, 20, 4, 9),
    (6, 20, 6, 3),  # of three rows of the kernel two see zeros
    (6, 5, 18, 1),
  ],
)
@pytest.mark.parametrize("precision", [None, "highest"])
def test_dilated_equals_lax_in_value_and_gradient(height, width, dilation, products, precision):
  edge = (dilation, dilation)
  plain = lambda x, kernel: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), (edge, edge), rhs_dilation=edge, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  ours = lambda x, kernel: conv.dilated(x, kernel, dilation)
  x, kernel, weight = _drawn((2, height, width, 5), (3, 3, 5, 7), (2, height, width, 7))
  with jax.default_matmul_precision(precision):
    traced = str(jax.make_jaxpr(ours)(x, kernel))
    assert traced.count("dot_general") == (0 if precision else products)
    _close(ours(x, kernel), plain(x, kernel))
    grads = [
      jax.grad(lambda x, w, f=f: (f(x, w) * weight).sum(), (0, 1))(x, kernel) for f in (ours, plain)
    ]
  for have, want in zip(*grads, strict=True):
    _close(have, want)
