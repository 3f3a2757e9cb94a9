"""DeepLab against the published network, against PyTorch in every variant, and its counts of parameters."""

import flax
from flax import traverse_util
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import convert, errors, export, models
from bicross_jax.convert import torch_state
from bicross_jax.models import aspp, layers

CASES = {"evdistill_deeplab": {}, "evdistill_dual_v3": {"reconstruction": "dual_v3"}}
NANO = dict(layers=18, divisor=16)
COUNTS = [  # options, parameters of the published network
  ({}, 59_340_454),
  ({"in_channels": 6}, 59_349_862),
  ({"auxiliary": True}, 59_341_990),
  ({"backbone": "mobilenet"}, 5_812_198),
  ({"reconstruction": "dual"}, 60_479_460),
  ({"reconstruction": "dual_v3"}, 60_730_788),
]
VARIANTS = [  # options, height and width
  (dict(NANO, reconstruction="dual_v3", auxiliary=True), (32, 48)),
  (dict(layers=18, divisor=8, output_stride=8, in_channels=6, classes=4), (42, 67)),
  pytest.param(
    dict(NANO, layers=50, reconstruction="dual", dilations=(2, 4, 8)),
    (36, 64),
    marks=pytest.mark.slow,
  ),
  (dict(backbone="mobilenet", divisor=4, reconstruction="dual_v2"), (48, 40)),
  pytest.param(
    dict(backbone="mobilenet", divisor=8, output_stride=8), (50, 33), marks=pytest.mark.slow
  ),
  (dict(backbone="drn", divisor=16), (40, 56)),
]


def _shapes(module, size=(64, 64)):
  x = jax.ShapeDtypeStruct((1, *size, module.in_channels), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), x)


def _variables(module):
  """Random, with batch statistics and norms that are not the initial ones."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name = path[-1].key
    if name == "kernel":
      return rng.normal(0, np.sqrt(1.5 / np.prod(leaf.shape[:-1])), leaf.shape)
    around = 1 if name in ("scale", "var") else 0
    return around + rng.uniform(-0.3, 0.3, leaf.shape)

  drawn = jax.tree.map_with_path(draw, _shapes(module))
  return jax.tree.map(lambda x: x.astype(np.float32), drawn)


def _named(output):
  """{name: array} of everything that an output holds."""
  whole = output._asdict()
  found = {**whole.pop("features"), **whole}
  return {name: x for name, x in found.items() if x is not None}


def _peer(torch, module, variables):
  """PyTorch's network with these variables."""
  from tests.models import deeplab_peer

  network = deeplab_peer.DeepLab(module)
  state = convert.to_torch("deeplab", variables)
  network.load_state_dict({name: torch.from_numpy(np.array(x)) for name, x in state.items()})
  return network


def _image(module, size, rows=3):
  return np.random.default_rng(1).random((rows, *size, module.in_channels), np.float32)


def _close(have, want, tolerance, name=""):
  assert have.shape == want.shape, name
  assert np.abs(have - want).max() <= tolerance * np.abs(want).max(), name


@pytest.mark.parametrize("name", CASES)
def test_equals_the_published_network(golden, name):
  """All maps within 1e-4, and the same classes; the weights go out as they came in."""
  case = golden.load(name)
  state = golden.weights(case.spec)
  variables = convert.from_torch("deeplab", state, **CASES[name])
  x = golden.inputs_of(case.spec)["x"].transpose(0, 2, 3, 1)
  out = jax.jit(models.create("deeplab", **CASES[name]).apply)(variables, x)
  found = {**_named(out), "logits_mean": out.logits.mean((1, 2))}
  assert set(case.outputs) == set(found)
  for key, want in case.outputs.items():
    have = np.asarray(found[key])
    have = have.transpose(0, 3, 1, 2)[:, : want.shape[1]] if have.ndim == 4 else have
    _close(have, want, 1e-4, key)
  if case.outputs["logits"].shape[1] == out.logits.shape[-1]:
    same = out.logits.argmax(-1) == case.outputs["logits"].argmax(1)
    assert same.mean() >= 0.9999
  back = convert.to_torch("deeplab", variables)
  assert set(back) == set(state) == set(case.spec["state"])
  for key, array in state.items():
    np.testing.assert_array_equal(back[key], array, err_msg=key)


@pytest.mark.parametrize("options, count", COUNTS, ids=str)
def test_number_of_parameters(options, count):
  params = _shapes(models.create("deeplab", **options))["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_the_backbone_drn_has_as_many_parameters_as_published():
  """35.8 million with a classifier of 1000 classes (Yu et al. 2017, table 1 of the repository)."""
  params = _shapes(models.create("deeplab", backbone="drn"))["params"]["backbone"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params)) + 512 * 1000 + 1000
  assert round(count / 1e6, 1) == 35.8


@pytest.mark.parametrize("options, size", VARIANTS, ids=str)
def test_every_variant_equals_pytorch(options, size):
  """Published names fill PyTorch's network strictly; all outputs, by running and by the batch's statistics."""
  torch = pytest.importorskip("torch")
  module = models.create("deeplab", dropout="none", **options)
  variables, x = _variables(module), _image(module, size)
  network = _peer(torch, module, variables)
  given = torch.from_numpy(x).permute(0, 3, 1, 2)

  @jax.jit
  def both(variables, x):
    trained, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
    return module.apply(variables, x), trained, updates["batch_stats"]

  *outputs, stats = jax.device_get(both(variables, x))
  for output, train in zip(outputs, (False, True), strict=True):
    with torch.no_grad():
      want = network.train(train)(given)
    found = _named(output)
    assert set(found) == set(want)
    for name, array in found.items():
      _close(array, want[name].permute(0, 2, 3, 1).numpy(), 1e-3 if train else 1e-4, name)
  back = {name: x.numpy() for name, x in network.state_dict().items()}
  learned = torch_state.convert(module, back).variables["batch_stats"]
  learned = traverse_util.flatten_dict(learned, sep="/")
  for name, mean in traverse_util.flatten_dict(stats, sep="/").items():
    if name.endswith("mean"):
      np.testing.assert_allclose(mean, learned[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
  "options",
  [
    dict(NANO, reconstruction="dual_v3", auxiliary=True),
    pytest.param(dict(backbone="mobilenet", divisor=16), marks=pytest.mark.slow),
  ],
  ids=str,
)
@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of what is switched off
def test_gradients_equal_those_of_pytorch(options):
  """Of every weight, with running statistics: by those of a batch rounding grows to 1e-3 in PyTorch too."""
  torch = pytest.importorskip("torch")
  module = models.create("deeplab", dropout="none", **options)
  variables, x = _variables(module), _image(module, (32, 48))
  weights = lambda shape: np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)

  @jax.jit
  @jax.grad
  def gradients(params):
    output = module.apply({"params": params, "batch_stats": variables["batch_stats"]}, x)
    return sum((y * weights(y.shape)).sum() for y in _named(output).values())

  found = {"params": gradients(variables["params"]), "batch_stats": variables["batch_stats"]}
  published = convert.to_torch("deeplab", jax.device_get(found))
  network = _peer(torch, module, variables).eval()
  with torch.backends.mkldnn.flags(enabled=False):  # its gradients of few channels overwrite memory
    want = network(torch.from_numpy(x).permute(0, 3, 1, 2)).values()
    nhwc = [y.permute(0, 2, 3, 1) for y in want]
    sum((y * torch.from_numpy(weights(tuple(y.shape)))).sum() for y in nhwc).backward()
  for name, param in network.named_parameters():
    _close(published[name], param.grad.numpy(), 1e-4, name)


@pytest.mark.parametrize(
  "dropout, rates",
  [
    ("all", {"aspp": [0.5], "decoder": [0.5, 0.1], "image_decoder": [0.5, 0.1]}),
    ("aspp", {"aspp": [0.5]}),
    ("none", {}),
  ],
)
def test_dropout_is_where_it_is_asked_for(dropout, rates):
  """In training alone, where it needs a key."""
  module = models.create("deeplab", **NANO, dropout=dropout, reconstruction="dual_v3")
  shapes, x = _shapes(module), jax.ShapeDtypeStruct((2, 32, 48, 3), jnp.float32)

  def run(train):
    apply = lambda v, x: module.apply(v, x, train=train, mutable=["batch_stats"])
    return jax.eval_shape(apply, shapes, x)

  found = {}

  def watch(call, args, kwargs, context):
    drops = context.module
    if isinstance(drops, nn.Dropout) and drops.rate and not drops.deterministic:
      found.setdefault(drops.path[0], []).append(drops.rate)
      return args[0]
    return call(*args, **kwargs)

  with nn.intercept_methods(watch):
    run(False)
    assert not found
    run(True)
  assert found == rates
  if rates:
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
      run(True)


@pytest.mark.parametrize("backbone", ["resnet", "mobilenet", "drn"])
def test_every_norm_pools_over_the_mapped_axis(backbone):
  options = dict(NANO, backbone=backbone, reconstruction="dual_v3", dropout="none")
  module = models.create("deeplab", **options, axis_name="batch", dtype="bfloat16")
  shapes, x = _shapes(module), jax.ShapeDtypeStruct((1, 2, 32, 48, 3), jnp.float32)
  seen = {"norms": set(), "types": set()}

  def watch(call, args, kwargs, context):
    made = context.module
    if isinstance(made, layers.BatchNorm):
      seen["norms"].add((made.path, made.axis_name))
    elif made.name and made.name.startswith(("conv", "up", "out", "pointwise", "auxiliary")):
      seen["types"].add(jnp.dtype(made.dtype))
    return call(*args, **kwargs)

  apply = lambda v, x: module.apply(v, x, train=True, mutable=["batch_stats"])
  with nn.intercept_methods(watch):
    jax.eval_shape(jax.vmap(apply, (None, 0), axis_name="batch"), shapes, x)
  means = [p for p in traverse_util.flatten_dict(shapes["batch_stats"]) if p[-1] == "mean"]
  assert seen["norms"] == {(path[:-1], "batch") for path in means}
  assert seen["types"] == {jnp.dtype("bfloat16")}


def test_dropout_of_the_pyramid_halves_and_doubles():
  pyramid, x = aspp.ASPP(16, (1, 2, 3)), np.random.default_rng(0).random((3, 6, 8, 4), np.float32)
  variables = pyramid.init(jax.random.key(0), x)
  rngs, mutable = {"dropout": jax.random.key(1)}, ["batch_stats"]
  have, _ = pyramid.apply(variables, x, train=True, rngs=rngs, mutable=mutable)
  whole, _ = pyramid.clone(dropout=False).apply(variables, x, train=True, mutable=mutable)
  kept = np.asarray(have != 0)
  np.testing.assert_allclose(have[kept], 2 * whole[kept], rtol=1e-5)
  assert 0.4 < kept.sum() / (whole != 0).sum() < 0.6


def test_fresh_weights_are_drawn_as_published():
  """Deviations of He et al. by fan-out in a ResNet and by fan-in elsewhere; torch's uniform numbers in new heads."""
  flat = lambda **options: traverse_util.flatten_dict(
    models.init(models.create("deeplab", **options), jax.random.key(0), (1, 64, 64, 3)), sep="/"
  )
  found = flat(layers=18, divisor=4, reconstruction="dual", auxiliary=True)
  for path, fan in (
    ("backbone/stage3_1/conv1", 9 * 64),
    ("backbone/stage2_0/conv_shortcut", 32),  # out, where in is 16
    ("aspp/conv2", 9 * 128),
    ("decoder/conv_low", 16),
    ("image_decoder/conv2", 9 * 64),
  ):
    kernel = np.asarray(found[f"params/{path}/kernel"])
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / fan), rtol=0.15, err_msg=path)
    assert np.abs(kernel).max() > 2.5 * kernel.std()  # a normal, not a uniform one
  for path, fan in (
    ("pointwise/kernel", 6),
    ("auxiliary/kernel", 64),
    ("decoder/out/bias", 64),
    ("deconvolved/up2/kernel", 4 * 8),  # torch counts results: 16 channels in, 8 out
    ("deconvolved/up2/bias", 4 * 8),
    ("deconvolved/residual2/conv1/bias", 9 * 8),
  ):
    bound, most = 1 / np.sqrt(fan), np.abs(found[f"params/{path}"]).max()
    assert 0.6 * bound < most <= bound, path
  assert found["params/decoder/norm1/scale"].min() == found["params/decoder/norm1/scale"].max() == 1
  assert not found["params/pointwise_norm/bias"].any()
  kernel = flat(backbone="mobilenet", divisor=4)["params/backbone/block9/conv2/kernel"]
  np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 9), rtol=0.15)  # of a channel by itself


def test_bfloat16_is_near_and_gives_float32():
  module = models.create("deeplab", **NANO)
  variables, x = _variables(module), _image(module, (32, 48), 1)
  half = module.clone(dtype="bfloat16")
  have, want = jax.jit(lambda v, x: (half.apply(v, x), module.apply(v, x)))(variables, x)
  for name, array in _named(have).items():
    assert array.dtype == np.float32
    _close(array, _named(want)[name], 0.1, name)


def test_names_of_published_files():
  """The stem of six channels, MobileNetV2's second names, backbones of ImageNet, a wrapper's prefix."""
  six = dict(NANO, in_channels=6)
  variables = _variables(models.create("deeplab", **six))
  state = convert.to_torch("deeplab", variables)
  state["backbone.conv1_.weight"] = state.pop("backbone.conv1.weight")
  back = convert.from_torch("deeplab", {f"module.{k}": x for k, x in state.items()}, **six)
  jax.tree.map(np.testing.assert_array_equal, back, variables)
  classifiers = {"resnet": "fc", "drn": "fc", "mobilenet": "classifier.1"}
  for backbone, classifier in classifiers.items():
    options = dict(NANO, backbone=backbone)
    module = models.create("deeplab", **options)
    variables = _variables(module)
    state = convert.to_torch("deeplab", variables)
    first = [k for k in state if k.startswith(("backbone.low", "backbone.features.0.0"))]
    assert bool(first) == (backbone == "mobilenet")
    if backbone == "mobilenet":
      whole = torch_state.convert(module, state)
      assert whole.unused and all("level_features" in name for name in whole.unused)
    alone = {k.removeprefix("backbone."): x for k, x in state.items() if k.startswith("backbone.")}
    alone = {k: x for k, x in alone.items() if "level_features" not in k}
    alone[f"{classifier}.weight"] = np.zeros((1000, 32), np.float32)
    found = torch_state.convert(module, alone)
    assert found.naming.part == "backbone" and found.unused == [f"{classifier}.weight"]
    for kind in ("params", "batch_stats"):
      jax.tree.map(
        np.testing.assert_array_equal,
        found.variables[kind],
        {"backbone": variables[kind]["backbone"]},
      )


def test_weights_of_another_variant_are_refused_with_advice():
  state = convert.to_torch("deeplab", _variables(models.create("deeplab", **NANO)))
  for options, words in (
    ({"reconstruction": "dual"}, "missing.*reconstruction=none"),
    ({"auxiliary": True}, "1 missing: params/auxiliary/kernel; .*auxiliary=False"),
    ({"classes": 11}, r"2 misshapen: decoder.last_conv.8.\w+ \("),
    ({"layers": 34}, "80 missing: batch_stats/backbone/stage1_2/norm1/mean"),
  ):
    with pytest.raises(errors.UserError, match=words):
      convert.from_torch("deeplab", state, **{**NANO, **options})


def test_an_input_of_other_channels_is_refused():
  module = models.create("deeplab", **NANO)
  for shape in ((1, 32, 32, 2), (32, 32, 3), (1, 0, 32, 3)):
    with pytest.raises(ValueError, match=r"expected \[B, H, W, 3\]"):
      jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
  "options",
  [
    dict(NANO, reconstruction="dual_v3", auxiliary=True),
    pytest.param(
      dict(backbone="mobilenet", divisor=16, reconstruction="dual"), marks=pytest.mark.slow
    ),
    pytest.param(dict(backbone="drn", divisor=16), marks=pytest.mark.slow),
  ],
  ids=str,
)
def test_runs_in_onnx_runtime(options):
  """Dilated, depthwise and transposed convolutions, resizes; dilated ones stay single operations."""
  onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
  module = models.create("deeplab", **options)
  variables, x = _variables(module), _image(module, (32, 48), 1)
  run = lambda inputs: _named(module.apply(variables, inputs["x"]))
  spec = {"x": jax.ShapeDtypeStruct(x.shape, x.dtype)}
  data, _ = export.function_to_onnx(run, spec, {})
  nodes = onnx.load_from_string(data).graph.node
  attributes = [
    {a.name: list(a.ints) for a in node.attribute} for node in nodes if node.op_type == "Conv"
  ]
  furthest = 36 if module.backbone == "drn" else 18
  assert [furthest] * 2 in [a["dilations"] for a in attributes]
  session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
  names = [value.name for value in session.get_outputs()]
  found = dict(zip(names, session.run(None, {"x": x}), strict=True))
  want = jax.jit(run)({"x": x})
  assert set(found) == set(want)
  for name, array in want.items():
    _close(found[name], array, 1e-4, name)
