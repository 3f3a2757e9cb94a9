"""EPCDepth against the published network, its counts of parameters, sizes and options."""

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, errors, models
from bicross_jax.convert import torch_state
from bicross_jax.models import rsu

# Means, corner and centre of every map for weights made from a sine, and means of the encoder's maps; from the
# authors' code. (layers, padding): lines d0..d9.
EXACT = {
  (18, "zeros"): """.519622 .542143 .479869 .498613 .478198 .359650 .431329 .447715 .471518
    .410320 .429932 .411640 .539145 .499820 .499448 .406562 .397151 .356419 .356413 .445870 .335581
    .457277 .439601 .361682 .548575 .540309 .672108 .395183 .474744 .426539""",
  (18, "reflect"): """.519564 .505231 .480000 .500337 .469440 .360864 .436912 .555891 .469114
    .414755 .457655 .415071 .551831 .546301 .503492 .363543 .376631 .345592 .328323 .338954 .329205
    .455287 .402861 .361901 .547315 .549592 .669792 .393164 .551847 .426765""",
  (50, "zeros"): """.493547 .545248 .449804 .483010 .516821 .368426 .523862 .508432 .577873
    .476067 .467846 .476236 .522312 .518939 .537074 .575323 .522178 .611705 .499750 .493728 .535309
    .545726 .494927 .557281 .631968 .543143 .700054 .395183 .474744 .426539""",
  (50, "reflect"): """.493475 .472725 .449717 .485558 .510207 .369166 .520995 .447058 .577593
    .466627 .462765 .474110 .526721 .509933 .534590 .612800 .626441 .618336 .507787 .490583 .538058
    .548111 .520233 .558046 .636085 .693284 .701313 .393164 .551847 .426765""",
}
PLAIN = {  # means of the plain decoder's maps
  18: (0.473443, 0.529157, 0.358456, 0.556253),
  50: (0.493453, 0.535636, 0.368965, 0.448646),
}
COUNTS = {  # layers -> parameters of the encoder, of the full-scale and of the plain decoder
  18: (11_176_512, 15_171_546, 3_152_724),
  34: (21_284_672, 15_171_546, 3_152_724),
  50: (23_508_032, 30_433_242, 9_014_100),
  101: (42_500_160, 30_433_242, 9_014_100),
  152: (58_143_808, 30_433_242, 9_014_100),
}


def _hash(tensor: int, count: int) -> np.ndarray:
  """Numbers in 0..1 that any language computes alike."""
  at = 43758.5453 * np.sin(12.9898 * (np.arange(count) + 1) + 78.233 * (tensor + 1))
  return at - np.floor(at)


def _filled(module):
  """A state dict in the published order; encoder and decoder are counted for themselves."""
  shapes = _shapes(module)
  published = torch_state.to_torch("epcdepth", jax.tree.map(lambda s: np.zeros(s.shape), shapes))
  names = [n for n in published if not n.endswith("num_batches_tracked") and ".fc." not in n]
  state = {}
  for part in ("encoder.", "depth_decoder."):
    own = sorted((n for n in names if n.startswith(part)), key=_place)
    for t, name in enumerate(own):
      shape = published[name].shape
      q = 2 * _hash(t, int(np.prod(shape))).reshape(shape) - 1
      if len(shape) == 4:
        x = q * np.sqrt(2 / np.prod(shape[1:]))
      elif name.endswith("running_var") or (name.endswith("weight") and part == "encoder."):
        x = 1 + 0.2 * q
      else:
        x = 0.1 * q
      state[name] = x.astype(np.float32)
  return state


def _place(name: str):
  """Where a name stands in the published order."""
  pieces = name.split(".")
  kind = ["weight", "bias", "running_mean", "running_var"].index(pieces[-1])
  if name.startswith("encoder."):
    block = [int(p) for p in pieces if p.isdigit()][:2] if "layer" in name else [-1, -1]
    stage = int(name.split("layer")[1][0]) if "layer" in name else 0
    last = pieces[-2]
    if "downsample" in name:
      layer = 100 + int(last)
    else:
      layer = 2 * int(last[-1]) + last.startswith("bn")
    return (stage, block[0], layer, kind)
  group = pieces[1]
  order = {"s": 0, "e": 1, "d": 2, "u": 0, "i": 0}[group[0]]
  if group.startswith("stage"):
    where = [5 - int(group[5])]
  elif group[:2] in ("up", "ic"):
    where = [2 * (5 - int(pieces[1][-1])) + group.startswith("iconv")]
  else:
    where = [int(pieces[2])]
  unit = next((p for p in pieces if p.startswith("rebnconv")), None)
  if unit is None:
    return (order, *where, 1000, kind)
  unit = unit.removeprefix("rebnconv")
  number = -1 if unit == "in" else 100 - int(unit[:-1]) if unit.endswith("d") else int(unit)
  return (order, *where, number, kind)


def _shapes(module, size=64):
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), x)


def _image():
  v, u = np.mgrid[:192, :256]
  waves = lambda c: np.sin(0.11 * u + 0.05 * v + c) + np.sin(0.37 * u - 0.23 * v + 2 * c)
  return np.stack([0.5 + 0.25 * waves(c) for c in range(3)], -1)[None].astype(np.float32)


def _applied(layers, **options):
  module = models.create("epcdepth", layers=layers, **options)
  small = models.create("epcdepth", layers=layers, decoder=options.get("decoder", "full_scale"))
  variables = convert.from_torch("epcdepth", _filled(small), layers=layers, **options)
  return jax.jit(module.apply)(variables, _image())


def test_equals_the_published_checkpoint(golden):
  case = golden.load("epcdepth_resnet18_rsu")
  variables = convert.from_torch("epcdepth", golden.weights(case.spec))
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create("epcdepth").apply)(variables, x)
  for i, got in enumerate(out.maps):
    want = case.outputs[f"d{i}"][:, 0]
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), i


@pytest.mark.slow
@pytest.mark.parametrize("layers, padding", EXACT)
def test_all_maps_for_weights_made_from_a_sine(layers, padding):
  out = _applied(layers, padding=padding)
  want = np.array(EXACT[layers, padding].split(), float).reshape(10, 3)
  for got, numbers in zip(out.maps, want, strict=True):
    (h, w), map_ = got.shape[1:], np.asarray(got[0])
    found = [map_.mean(), map_[0, 0], map_[h // 2, w // 2]]
    np.testing.assert_allclose(found, numbers, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [18, 50])
def test_the_plain_decoder(layers):
  out = _applied(layers, decoder="plain")
  np.testing.assert_allclose([x.mean() for x in out.maps], PLAIN[layers], atol=2e-5)
  assert [x.shape[1:] for x in out.maps] == [(192 >> k, 256 >> k) for k in range(4)]


@pytest.mark.parametrize(
  "layers", [18, 50, *(pytest.param(n, marks=pytest.mark.slow) for n in (34, 101, 152))]
)
def test_number_of_parameters(layers):
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  encoder, full, plain = COUNTS[layers]
  for decoder, own in (("full_scale", full), ("plain", plain)):
    params = _shapes(models.create("epcdepth", layers=layers, decoder=decoder))["params"]
    assert count(params.pop("encoder")) == encoder
    assert count(params) == own


def test_weights_go_out_as_they_came_in(golden):
  spec = golden.load("epcdepth_resnet18_rsu").spec
  state = golden.weights(spec)
  variables = convert.from_torch("epcdepth", state)
  back = convert.to_torch("epcdepth", variables)
  assert set(back) == set(state)
  for name, x in back.items():
    if ".fc." not in name and not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(x, state[name], err_msg=name)
    assert x.shape == tuple(np.shape(state[name])), name


@pytest.mark.parametrize("divisor", [4, 16])
def test_fresh_weights_are_drawn_as_torch_draws_them(divisor):
  module = models.create("epcdepth", divisor=divisor)
  flat = traverse_util.flatten_dict(models.init(module, jax.random.key(0), (1, 64, 64, 3)), sep="/")
  stem = flat["params/encoder/conv1/kernel"]
  np.testing.assert_allclose(stem.std(), np.sqrt(2 / (49 * 64 // divisor)), rtol=0.15)
  kernel = flat["params/stage5d/conv_in/conv/kernel"]
  bound = 1 / np.sqrt(np.prod(kernel.shape[:3]))
  assert 0.95 * bound < np.abs(kernel).max() <= bound
  bias = flat["params/stage5d/conv_in/conv/bias"]
  assert 0.5 * bound < np.abs(bias).max() <= bound
  assert not flat["params/encoder/norm1/bias"].any()


@pytest.mark.parametrize(
  "options, size, message",
  [
    ({}, (60, 64), "multiples of 32"),
    ({"padding": "reflect"}, (128, 256), "at least 160"),
    ({"padding": "wrap"}, (64, 64), "zeros, reflect"),
    ({"encoder": "vgg"}, (64, 64), "resnet or rsu"),
    ({"decoder": "half"}, (64, 64), "full_scale or plain"),
    ({"layers": 19}, (64, 64), "18, 34, 50"),
  ],
)
def test_what_cannot_be(options, size, message):
  module = models.create("epcdepth", **options)
  x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(module.init, jax.random.key(0), x)


def test_weights_of_another_depth_are_refused(golden):
  state = golden.weights(golden.load("epcdepth_resnet18_rsu").spec)
  with pytest.raises(errors.UserError, match="missing"):
    convert.from_torch("epcdepth", state, layers=34)


def _units():
  """Layers of the U-block encoder in order: (path, input channels, channels)."""
  yield "stem/", 3, 64
  channels = 64
  for i, (n, middle, out, _) in enumerate(rsu.ENCODER, 1):
    yield f"stage{i}/conv_in/", channels, out
    for k in range(1, n + 1):
      yield f"stage{i}/conv{k}/", out if k == 1 else middle, middle
    for k in range(n - 1, 0, -1):
      yield f"stage{i}/conv{k}d/", 2 * middle, middle if k > 1 else out
    channels = out


def test_an_encoder_of_u_blocks_has_the_published_widths():
  """Table 1 of the paper of U2-Net, and the stem."""
  params = _shapes(models.create("epcdepth", encoder="rsu"))["params"]["encoder"]
  flat = traverse_util.flatten_dict(params, sep="/")
  want = {f"{path}conv/kernel": (3, 3, a, b) for path, a, b in _units()}
  want |= {f"{path}norm/{name}": (b,) for path, _, b in _units() for name in ("scale", "bias")}
  assert {name: x.shape for name, x in flat.items()} == want


def test_an_encoder_of_u_blocks_equals_pytorch():
  torch = pytest.importorskip("torch")
  functional, small = torch.nn.functional, rsu.Encoder(divisor=16)
  x = _image()[:, :96]
  variables = jax.jit(small.init)(jax.random.key(0), x)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda v: v + rng.uniform(0, 0.3, v.shape).astype(np.float32), variables)
  flat = {
    k: torch.tensor(np.asarray(v))
    for k, v in traverse_util.flatten_dict(variables, sep="/").items()
  }

  def unit(path, y, dilation=1, stride=1):
    kernel = flat[f"params/{path}/conv/kernel"].permute(3, 2, 0, 1)
    y = functional.conv2d(y, kernel, None, stride, dilation, dilation)
    stats = (flat[f"batch_stats/{path}/norm/{name}"] for name in ("mean", "var"))
    scale, bias = (flat[f"params/{path}/norm/{name}"] for name in ("scale", "bias"))
    return functional.batch_norm(y, *stats, scale, bias).relu()

  def block(stage, y, n, flat_one):
    entry = unit(f"{stage}/conv_in", y)
    maps = [unit(f"{stage}/conv1", entry)]
    for k in range(2, n + 1):
      pooled = (
        maps[-1] if flat_one or k == n else functional.max_pool2d(maps[-1], 2, 2, ceil_mode=True)
      )
      maps.append(
        unit(f"{stage}/conv{k}", pooled, (1, 2, 4, 8)[k - 1] if flat_one else 1 + (k == n))
      )
    y = maps.pop()
    for k in range(n - 1, 0, -1):
      skip = maps.pop()
      y = functional.interpolate(y, skip.shape[2:], mode="bilinear")
      y = unit(f"{stage}/conv{k}d", torch.cat([y, skip], 1), (1, 2, 4)[k - 1] if flat_one else 1)
    return y + entry

  y, want = unit("stem", torch.tensor(x.transpose(0, 3, 1, 2)), stride=2), []
  for i, plan in enumerate(rsu.ENCODER):
    y = functional.max_pool2d(y, 2, 2, ceil_mode=True) if i else y
    y = block(f"stage{i + 1}", y, plan.height, plan.flat)
    want.append(y.permute(0, 2, 3, 1).numpy())
  for i, (a, b) in enumerate(zip(jax.jit(small.apply)(variables, x), want, strict=True)):
    assert a.shape[1:3] == (48 >> i, 128 >> i)
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("decoder", ["plain", pytest.param("full_scale", marks=pytest.mark.slow)])
def test_u_blocks_all_through(decoder):
  """Maps of the sizes that a ResNet's have; in training the norms of the encoder learn."""
  module = models.create("epcdepth", encoder="rsu", decoder=decoder, divisor=16)
  x = np.repeat(_image()[:, :64, :96], 2, 0)
  variables = models.init(module, jax.random.key(0), x.shape)
  apply = jax.jit(lambda v, x: module.apply(v, x, train=True, mutable=["batch_stats"]))
  out, updates = apply(variables, x)
  resnet = models.create("epcdepth", decoder=decoder, divisor=16)
  want = jax.eval_shape(lambda v, x: resnet.apply(v, x), _shapes(resnet), x)
  assert [m.shape for m in out.maps] == [m.shape for m in want.maps]
  assert all(np.isfinite(m).all() and 0 < m.min() < m.max() < 1 for m in out.maps)
  means = traverse_util.flatten_dict(updates["batch_stats"])
  assert len(means) == 2 * len(list(_units())) and all(np.asarray(v).any() for v in means.values())
