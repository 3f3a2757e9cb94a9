"""Losses of class maps against their formulas in NumPy and PyTorch, and split over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax.losses import adversarial, segmentation

B, H, W, K = 2, 10, 12, 5


def _draw(seed, *shape, size=2.0):
  return (size * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def _softmax(z):
  z = np.asarray(z, np.float64)
  e = np.exp(z - z.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


A, Z = _draw(1, B, H, W, K), _draw(2, B, H, W, K)
LABEL = np.random.default_rng(3).integers(0, K, (B, H, W)).astype(np.uint8)
LABEL[:, :2] = 255
# A student that is right on most pixels: few of them are hard.
RIGHT = A + 9 * (np.arange(K) == LABEL[..., None])


def _ohem(logits, label, threshold):
  """Online hard example mining by sorting, example by example as the skeleton's code does."""
  known = label.ravel() != 255
  index = np.where(known, label.ravel(), 0)
  p = _softmax(logits).reshape(-1, logits.shape[-1])[np.arange(index.size), index]
  p = np.where(known, p, 1.0)
  bound = max(threshold, np.sort(p)[p.size // 16])
  kept = known & (p <= bound)
  return -np.log(p[kept]).mean() if kept.any() else 0.0


@pytest.mark.parametrize("threshold", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("logits", [A, RIGHT], ids=["hard", "easy"])
def test_ohem_equals_a_sort(logits, threshold):
  got = segmentation.ohem(logits, LABEL, threshold)
  np.testing.assert_allclose(got, _ohem(logits, LABEL, threshold), rtol=1e-5)


def test_an_easy_batch_learns_from_a_sixteenth_of_its_pixels():
  """Those of ranks 0 to pixels / 16 alone have a gradient, and they are the hardest."""
  p = np.linspace(0.9, 0.99, 8 * 8).reshape(1, 8, 8)
  np.random.default_rng(0).shuffle(p.ravel())
  logits = np.stack([np.log(p / (1 - p)), 0 * p], -1).astype(np.float32)
  label = np.zeros((1, 8, 8), np.uint8)
  gradient = np.asarray(jax.grad(segmentation.ohem)(logits, label, 0.7))
  hard = (gradient != 0).any(-1)
  assert hard.sum() == 64 // 16 + 1 and p[hard].max() < p[~hard].min()
  np.testing.assert_allclose(gradient[hard][:, 0], (p[hard] - 1) / 5, rtol=1e-3)


def test_ignored_pixels_never_count_whatever_the_threshold():
  """Threshold 1 is the mean over the known ones; the labels that came in stay what they were."""
  label = LABEL.copy()
  gradient = np.asarray(jax.grad(segmentation.ohem)(A, label, 1.0))
  assert not gradient[label == 255].any() and gradient[label != 255].all()
  known = label != 255
  p = _softmax(A)[known][np.arange(known.sum()), label[known]]
  np.testing.assert_allclose(segmentation.ohem(A, label, 1.0), -np.log(p).mean(), rtol=1e-5)
  np.testing.assert_array_equal(label, LABEL)


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
  nothing = np.full((B, H, W), 255, np.uint8)
  value, gradient = jax.value_and_grad(segmentation.ohem)(A, nothing, 0.7)
  assert value == 0 and not np.asarray(gradient).any()


def test_pixelwise_is_a_mean_of_pixels_and_a_sum_of_examples():
  want = -(_softmax(Z) * np.log(_softmax(A))).sum(-1).mean((1, 2)).sum()
  np.testing.assert_allclose(segmentation.pixelwise(A, Z), want, rtol=1e-5)


@pytest.mark.parametrize("size", [(10, 12), (9, 11), (1, 1), (2, 7)])
def test_affinity_equals_torch(size):
  """The published pool: windows of 0.8 of the map, side by side, with the cut off ones."""
  torch = pytest.importorskip("torch")
  a, b = _draw(4, B, *size, 3), _draw(5, B, *size, 6)

  def cosines(x):
    x = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_(True)
    window = tuple(max(1, int(0.8 * s)) for s in size)
    nodes = torch.nn.functional.max_pool2d(x, window, window, ceil_mode=True)
    nodes = nodes.reshape(*nodes.shape[:2], -1)
    length = (nodes.detach() ** 2).sum(1, keepdim=True).sqrt() + 1e-8
    nodes = nodes / length
    return x, torch.einsum("icm,icn->imn", nodes, nodes)

  x, student = cosines(a)
  _, teacher = cosines(b)
  nodes = student.shape[1]
  loss = ((teacher.detach() - student) ** 2 / nodes**2 / B).sum()
  loss.backward()
  value, gradient = jax.value_and_grad(segmentation.affinity)(a, b)
  np.testing.assert_allclose(value, loss.item(), rtol=1e-5, atol=1e-7)
  want = x.grad.permute(0, 2, 3, 1).numpy()
  np.testing.assert_allclose(gradient, want, rtol=1e-4, atol=1e-6)


def test_affinity_of_the_same_features_is_none_whatever_their_length():
  a = np.abs(_draw(6, B, 10, 12, 3)) + 0.1
  np.testing.assert_allclose(segmentation.affinity(a, 3 * a), 0, atol=1e-10)


def test_feature_affinity_equals_numpy():
  a, b = _draw(7, B, 9, 13, 3), _draw(8, B, 9, 13, 3)

  def products(x):
    nodes = [
      x[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean((1, 2)) for i in range(2) for j in range(3)
    ]
    return np.array([[(m * n).sum(-1) for n in nodes] for m in nodes])

  want = np.abs(products(a) - products(b)).mean((0, 1)).sum()
  got = segmentation.feature_affinity(a, b, window=4)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def _kl(p, q):
  return (p * np.log(p / q)).sum(-1)


def test_divergence_and_mutual_equal_numpy():
  p, q = _softmax(A), _softmax(Z)
  np.testing.assert_allclose(segmentation.divergence(A, Z), _kl(p, q).mean(), rtol=1e-5)
  both = (_kl(p, q) + _kl(q, p)).mean()
  np.testing.assert_allclose(segmentation.mutual(A, Z), both, rtol=1e-5)
  np.testing.assert_allclose(segmentation.divergence(A, A + 3), 0, atol=1e-6)


def test_distribution_compares_the_shares_of_classes():
  p, q = (_softmax(x).mean((0, 1, 2)) for x in (A, Z))
  np.testing.assert_allclose(segmentation.distribution(A, Z), _kl(p, q), rtol=1e-4)
  moved = np.roll(A, 3, 1)  # other pixels, but the same classes
  np.testing.assert_allclose(segmentation.distribution(A, moved), 0, atol=1e-6)


def test_least_squares_equal_numpy():
  real, fake = _draw(9, B, 3, 4), _draw(10, B, 3, 4)
  np.testing.assert_allclose(adversarial.fool(fake), ((fake - 1) ** 2).mean(), rtol=1e-6)
  want = (((real - 1) ** 2).mean() + (fake**2).mean()) / 2
  np.testing.assert_allclose(adversarial.tell_apart(real, fake), want, rtol=1e-6)


HELD = {  # loss -> which of its arguments no gradient reaches
  "pixelwise": (segmentation.pixelwise, 1),
  "affinity": (segmentation.affinity, 1),
  "divergence": (segmentation.divergence, 0),
  "distribution": (segmentation.distribution, 0),
}


@pytest.mark.parametrize("name", HELD)
def test_a_teacher_gets_no_gradient(name):
  loss, held = HELD[name]
  gradients = jax.grad(loss, (0, 1))(A, Z)
  assert not np.asarray(gradients[held]).any() and np.asarray(gradients[1 - held]).any()


def test_networks_that_learn_from_each_other_take_what_is_held_for_constant():
  """The gradient of KL(a || b) + KL(b || a) by b with a held, and b held in the second: p_b - p_a."""
  gradient = jax.grad(segmentation.mutual, (0, 1))(A, Z)
  pixels, apart = B * H * W, _softmax(A) - _softmax(Z)
  np.testing.assert_allclose(gradient[0], apart / pixels, rtol=1e-3, atol=1e-7)
  np.testing.assert_allclose(gradient[1], -apart / pixels, rtol=1e-3, atol=1e-7)


POOLED = {
  "ohem": lambda a, z, label, axis: segmentation.ohem(a, label, 0.1, axis_name=axis),
  "easy": lambda a, z, label, axis: segmentation.ohem(
    a + 9 * jax.nn.one_hot(label, K), label, 0.7, axis_name=axis
  ),
  "pixelwise": lambda a, z, _, axis: segmentation.pixelwise(a, z, axis_name=axis),
  "affinity": lambda a, z, _, axis: segmentation.affinity(a, z, axis_name=axis),
  "feature_affinity": lambda a, z, _, axis: segmentation.feature_affinity(
    a, z, window=4, axis_name=axis
  ),
  "divergence": lambda a, z, _, axis: segmentation.divergence(a, z, axis_name=axis),
  "mutual": lambda a, z, _, axis: segmentation.mutual(a, z, axis_name=axis),
  "distribution": lambda a, z, _, axis: segmentation.distribution(a, z, axis_name=axis),
  "fool": lambda a, z, _, axis: adversarial.fool(a, axis_name=axis),
  "tell_apart": lambda a, z, _, axis: adversarial.tell_apart(a, z, axis_name=axis),
}


@pytest.mark.parametrize("name", POOLED)
def test_devices_equal_one(name):
  """Value and (averaged) gradient; one device holds all of the ignored pixels."""
  loss = POOLED[name]
  a, z = _draw(11, 4, H, W, K), _draw(12, 4, H, W, K) + np.linspace(0, 2, K, dtype=np.float32)
  label = np.random.default_rng(13).integers(0, K, (4, H, W)).astype(np.uint8)
  label[:2] = 255
  value, gradient = jax.value_and_grad(functools.partial(loss, axis=None))(a, z, label)
  split = lambda x: x.reshape(2, 2, *x.shape[1:])

  def shard(a, z, label):
    return jax.value_and_grad(functools.partial(loss, axis="batch"))(a, z, label)

  values, gradients = jax.vmap(shard, axis_name="batch")(*map(split, (a, z, label)))
  np.testing.assert_allclose(values, [value] * 2, rtol=1e-5)
  # What pmean makes of them: each device's gradient counts every device once.
  np.testing.assert_allclose(gradients.reshape(a.shape) / 2, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
  "loss", [segmentation.pixelwise, segmentation.divergence, segmentation.feature_affinity]
)
def test_maps_of_different_sizes_are_refused(loss):
  with pytest.raises(ValueError, match="arrays of one shape"):
    loss(jnp.zeros((1, 16, 16, 2)), jnp.zeros((1, 16, 16, 1)))
