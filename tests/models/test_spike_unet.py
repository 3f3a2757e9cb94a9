"""The front ends against torch modules built here from docs/systems/bicross.md."""

import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors, models
from bicross_jax.models import spike_unet

SMALL = dict(in_channels=16, widths=(8, 12, 20), reduction=4)


def _random(module, shape):
  """Variables with no number left at its start, so that every one of them shows."""
  rng = np.random.default_rng(3)
  variables = models.init(module, jax.random.key(0), shape)
  flat = traverse_util.flatten_dict(variables, sep="/")
  for path, leaf in flat.items():
    noise = rng.standard_normal(leaf.shape).astype(np.float32)
    around = {"scale": 1.0, "var": 1.0, "bias": 0.0, "mean": 0.0}.get(path.rsplit("/", 1)[-1])
    flat[path] = (
      np.asarray(leaf) if around is None else (around + 0.2 * noise).clip(0.1 if around else -1)
    )
  return traverse_util.unflatten_dict(flat, sep="/")


def _count(kind, **options):
  module = models.create("spike_unet", kind=kind, **options)
  shape = jax.ShapeDtypeStruct((1, 32, 32, module.in_channels), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), shape)
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_parameters_are_counted_by_hand():
  def double(i, mid, o):
    return 9 * i * mid + 2 * mid + 9 * mid * o + 2 * o

  unet = (
    double(128, 128, 128)
    + double(128, 256, 256)
    + double(256, 512, 512)
    + double(512, 512, 512)
    + double(1024, 512, 256)
    + double(512, 256, 128)
    + double(256, 128, 128)
    + 128 * 3
    + 3
  )
  assert _count("senet") == 2 * 128 * 8
  assert _count("unet") == unet == 17_261_187
  assert _count("usenet") == unet + 2 * 512 * 32
  assert _count("usenet", **SMALL) == (
    double(16, 8, 8)
    + double(8, 12, 12)
    + double(12, 20, 20)
    + 2 * 20 * 5
    + double(32, 16, 6)
    + double(14, 7, 8)
    + 8 * 3
    + 3
  )


def _torch_front_end(kind, in_channels, widths, reduction):
  torch = pytest.importorskip("torch")
  nn = torch.nn

  def double(i, mid, o):
    return nn.ModuleDict(
      {
        "conv1": nn.Conv2d(i, mid, 3, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(mid),
        "conv2": nn.Conv2d(mid, o, 3, padding=1, bias=False),
        "norm2": nn.BatchNorm2d(o),
      }
    )

  def attention(c):
    return nn.ModuleDict(
      {
        "squeeze": nn.Linear(c, c // reduction, bias=False),
        "excite": nn.Linear(c // reduction, c, bias=False),
      }
    )

  class FrontEnd(nn.Module):
    def __init__(self):
      super().__init__()
      if kind != "unet":
        self.attention = attention(in_channels if kind == "senet" else widths[-1])
      if kind == "senet":
        return
      before = in_channels
      for i, width in enumerate(widths, 1):
        self.add_module(f"down{i}", double(before, width, width))
        before = width
      for i in range(len(widths) - 1, 0, -1):
        both = before + widths[i - 1]
        before = widths[i - 1] // 2 if i > 1 else widths[0]
        self.add_module(f"up{i}", double(both, both // 2, before))
      self.out = nn.Conv2d(before, 3, 1)

    def run(self, block, x):
      block = getattr(self, block)
      for i in (1, 2):
        x = torch.relu(block[f"norm{i}"](block[f"conv{i}"](x)))
      return x

    def weigh(self, x):
      y = torch.relu(self.attention["squeeze"](x.mean((2, 3))))
      return x * torch.sigmoid(self.attention["excite"](y))[:, :, None, None]

    def forward(self, x):
      if kind == "senet":
        return self.weigh(x)
      skips = []
      for i in range(1, len(widths) + 1):
        x = self.run(f"down{i}", nn.functional.max_pool2d(x, 2) if i > 1 else x)
        skips.append(x)
      x = self.weigh(x) if kind == "usenet" else x
      for i in range(len(widths) - 1, 0, -1):
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = self.run(f"up{i}", torch.cat([skips[i - 1], x], 1))
      return self.out(x)

  return FrontEnd()


def _load(module, variables):
  """Puts our variables into the torch module; every entry of it must be met."""
  torch = pytest.importorskip("torch")
  names = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
  }
  state = {}
  for tree in variables.values():
    for path, leaf in traverse_util.flatten_dict(tree, sep=".").items():
      owner, _, name = path.rpartition(".")
      order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(np.ndim(leaf), (0,))
      state[f"{owner}.{names[name]}"] = torch.tensor(np.transpose(leaf, order))
  missing, unexpected = module.load_state_dict(state, strict=False)
  assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
  return module


@pytest.mark.parametrize(
  "kind, train", [("usenet", True), ("usenet", False), ("unet", True), ("senet", False)]
)
def test_equals_torch_in_value_gradient_and_statistics(kind, train):
  torch = pytest.importorskip("torch")
  module = models.create("spike_unet", kind=kind, **SMALL)
  x = np.random.default_rng(0).choice([-1.0, 1.0], (2, 12, 20, 16)).astype(np.float32)
  variables = _random(module, x.shape)
  peer = _load(_torch_front_end(kind, **SMALL), variables).train(train)
  given = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
  want = peer(given)
  weight = (
    np.random.default_rng(1).standard_normal((2, 12, 20, module.out_channels)).astype(np.float32)
  )
  (want * torch.tensor(weight).permute(0, 3, 1, 2)).sum().backward()

  def loss(params, x):
    out, updates = module.apply(
      {**variables, "params": params}, x, train=train, mutable=["batch_stats"]
    )
    return (out * weight).sum(), (out, updates)

  step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
  (_, (got, updates)), (grads, dx) = step(variables["params"], x)
  assert got.shape == (2, 12, 20, module.out_channels) and got.dtype == jnp.float32
  np.testing.assert_allclose(got, want.detach().permute(0, 2, 3, 1), atol=2e-4)
  np.testing.assert_allclose(dx, given.grad.permute(0, 2, 3, 1), atol=3e-3)
  for path, grad in traverse_util.flatten_dict(grads, sep=".").items():
    owner, _, name = path.rpartition(".")
    theirs = dict(peer.named_parameters())[f"{owner}.{'bias' if name == 'bias' else 'weight'}"].grad
    theirs = theirs.numpy().transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(theirs.ndim, (0,)))
    np.testing.assert_allclose(grad, theirs, atol=2e-4 * max(1, np.abs(theirs).max()), err_msg=path)
  if train and kind != "senet":
    buffers = dict(peer.named_buffers())
    for path, value in traverse_util.flatten_dict(updates["batch_stats"], sep=".").items():
      owner, _, name = path.rpartition(".")
      if name == "mean":  # the running variance is biased here, unbiased there
        np.testing.assert_allclose(value, buffers[f"{owner}.running_mean"], atol=1e-5)


def test_two_devices_equal_one():
  module, x = (
    models.create("spike_unet", **SMALL),
    jnp.asarray(np.random.default_rng(0).standard_normal((4, 16, 16, 16)), jnp.float32),
  )
  variables = models.init(module, jax.random.key(0), x.shape)
  split = models.create("spike_unet", axis_name="batch", **SMALL)

  def run(module, x):
    return module.apply(variables, x, train=True, mutable=["batch_stats"])

  want, stats = jax.jit(functools.partial(run, module))(x)
  got, new = jax.jit(jax.vmap(functools.partial(run, split), axis_name="batch"))(
    x.reshape(2, 2, 16, 16, 16)
  )
  np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-4)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), new, stats)


@pytest.mark.parametrize("kind, stem", [("usenet", 3), ("unet", 3), ("senet", 16)])
def test_a_depth_network_behind_it_has_the_stem_of_what_it_is_given(kind, stem):
  front_end = models.create("spike_unet", kind=kind, dtype="bfloat16", **SMALL)
  dpt = models.create("dpt", backbone="nano", in_channels=front_end.out_channels, dtype="bfloat16")
  module = spike_unet.FrontedDPT(front_end, dpt)
  variables = jax.eval_shape(
    lambda key: models.init(module, key, (1, 32, 64, 16)), jax.random.key(0)
  )
  kernel = variables["params"]["dpt"]["backbone"]["resnet"]["stem"]["conv"]["kernel"]
  assert kernel.shape[2] == stem and set(variables["params"]) == {"front_end", "dpt"}
  out = jax.eval_shape(lambda v, x: module.apply(v, x), variables, jnp.zeros((2, 32, 64, 16)))
  assert out.depth.shape == (2, 32, 64) and out.depth.dtype == jnp.float32


@pytest.mark.parametrize(
  "options, listed",
  [
    ({"kind": "resnet"}, "usenet, unet, senet"),
    ({"dtype": "half"}, "bfloat16"),
    ({"widths": (8,)}, "two or more"),
    ({"in_channels": 0}, "in_channels 0"),
    ({"reduction": 0}, "reduction 0"),
    ({"width": 3}, "widths"),
  ],
)
def test_mistakes_are_told(options, listed):
  with pytest.raises(errors.UserError, match=listed):
    models.create("spike_unet", **options)


def test_inputs_that_do_not_fit_are_refused():
  module = models.create("spike_unet", **SMALL)
  for shape in ((1, 18, 16, 16), (1, 16, 16, 8), (16, 16, 16)):
    with pytest.raises(ValueError, match="multiples of 4"):
      jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))
