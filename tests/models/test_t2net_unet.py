"""T2Net's depth network against one written down in PyTorch; its size; weights in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, models

NAME, WIDTH = "t2net_unet", 4


@pytest.fixture(scope="module")
def variables():
  """Random ones of a narrow network; variances are positive."""
  module, rng = models.create(NAME, width=WIDTH), np.random.default_rng(0)
  x = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)

  def draw(path, leaf):
    noise = rng.standard_normal(leaf.shape).astype(np.float32)
    if path[-1].key == "kernel":
      return noise * np.float32(np.sqrt(1.5 / np.prod(leaf.shape[:-1])))
    return 0.1 * noise + np.float32(path[-1].key in ("scale", "var"))

  return jax.tree.map_with_path(draw, jax.eval_shape(module.init, jax.random.key(0), x))


def test_number_of_parameters():
  x = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
  params = jax.eval_shape(models.create(NAME).init, jax.random.key(0), x)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 54_564_676


def test_equals_a_network_of_torch(variables):
  """Functions of PyTorch in the order of the paper's code, on the names that ours go out under."""
  torch = pytest.importorskip("torch")
  functional = torch.nn.functional
  state = {k: torch.from_numpy(v) for k, v in convert.to_torch(NAME, variables).items()}
  slope = state["conv1.3.weight"]

  def norm(name, x):
    keys = ("running_mean", "running_var", "weight", "bias")
    return functional.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

  act = lambda x: functional.prelu(x, slope)

  def reflected(name, x, dilation=1):
    weight = state[f"{name}.weight"]
    around = dilation * (weight.shape[-1] // 2)
    padded = functional.pad(x, (around,) * 4, mode="reflect")
    return functional.conv2d(padded, weight, dilation=dilation)

  def down(name, x):
    for i in (0, 3):
      x = functional.conv2d(x, state[f"{name}.model.{i}.weight"], padding=1)
      x = act(norm(f"{name}.model.{i + 1}", x))
    return functional.avg_pool2d(x, 2)

  def residual(name, x):
    y = torch.cat([reflected(f"{name}.layer{i}.1", x, 2 * i + 1) for i in range(3)], 1)
    y = norm(f"{name}.norm2", reflected(f"{name}.branch1x1.1", act(norm(f"{name}.norm1", y))))
    return act(y + x)

  def up(name, x):
    x = act(norm(f"{name}.model.2", reflected(f"{name}.model.1", x)))
    weight, bias = (state[f"{name}.model.4.{key}"] for key in ("weight", "bias"))
    return act(norm(f"{name}.model.5", functional.conv_transpose2d(x, weight, bias, 2, 1, 1)))

  given = np.random.default_rng(1).standard_normal((1, 96, 112, 3)).astype(np.float32)
  with torch.no_grad():
    x = torch.from_numpy(given.transpose(0, 3, 1, 2))
    maps = [functional.avg_pool2d(act(norm("conv1.2", reflected("conv1.1", x))), 2)]
    for i in (2, 3, 4):
      maps.append(down(f"conv{i}", maps[-1]))
    x, depths = maps[-1], []
    for i in range(3):
      x = residual(f"center.{i}", x)
    x = up("center.3", x)
    for level, weight in ((4, 0.1), (3, 0.05), (2, 0.01)):
      before = [functional.interpolate(depths[-1], scale_factor=2)] if depths else []
      x = torch.cat([x, maps[level - 2] * weight, *before], 1)
      depths.append(torch.tanh(reflected(f"output{level}.model.1", x)))
      x = up(f"deconv{level}", x)
    x = torch.cat([x, functional.interpolate(depths[-1], scale_factor=2)], 1)
    depths.append(torch.tanh(reflected("output1.model.1", x)))
  out = jax.jit(models.create(NAME, width=WIDTH).apply)(variables, given)
  np.testing.assert_allclose(out.feature, maps[-1].permute(0, 2, 3, 1), atol=1e-4)
  for have, want in zip(out.depths, depths, strict=True):
    np.testing.assert_allclose(have, want[:, 0], atol=1e-4 * np.abs(want).max())
  np.testing.assert_array_equal(out.depth, out.depths[-1])


def test_weights_go_out_and_come_back(variables):
  state = convert.to_torch(NAME, variables)
  slopes = [name for name, x in state.items() if x.shape == (1,)]
  assert len(slopes) == 1 + 3 * 2 + 3 + 4 * 2  # the first, of Down, of the residual blocks, of Up
  back = convert.from_torch(NAME, state, width=WIDTH)
  jax.tree.map(np.testing.assert_array_equal, back, dict(variables))


def test_small_images_are_refused():
  module = models.create(NAME, width=WIDTH)
  for size, message in ((80, "at least 96"), (100, "multiples of 16")):
    with pytest.raises(ValueError, match=message):
      shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
      jax.eval_shape(module.init, jax.random.key(0), shape)
