import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bicross_jax import errors
from bicross_jax.train import optim

PARAMS = {
  "backbone": {"stem": {"kernel": jnp.array([1.0, -2.0, 3.0])}, "scale": jnp.array(0.5)},
  "head": {"kernel": jnp.array([[0.3, 0.7]]), "bias": jnp.array([0.1])},
}


def gradients(seed):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), PARAMS)


def steps(transform, n, params=PARAMS, validate=lambda state, k: state):
  state, update = transform.init(params), jax.jit(transform.update)
  for k in range(n):
    updates, state = update(gradients(k), state, params)
    params = optax.apply_updates(params, updates)
    state = validate(state, k)
  return params, state


def test_groups_equal_torch():
  torch = pytest.importorskip("torch")
  got, _ = steps(optim.adam([("^backbone/", 1e-3), (r"kernel$", 0.05), ("", 0.2)]), 20)
  rate = {"stem": 1e-3, "scale": 1e-3, "kernel": 0.05, "bias": 0.2}
  flat = {
    "stem": PARAMS["backbone"]["stem"]["kernel"],
    "scale": PARAMS["backbone"]["scale"],
    "kernel": PARAMS["head"]["kernel"],
    "bias": PARAMS["head"]["bias"],
  }
  flat = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in flat.items()}
  adam = torch.optim.Adam([{"params": [v], "lr": rate[k]} for k, v in flat.items()])
  for k in range(20):
    g = gradients(k)
    g = {
      "stem": g["backbone"]["stem"]["kernel"],
      "scale": g["backbone"]["scale"],
      "kernel": g["head"]["kernel"],
      "bias": g["head"]["bias"],
    }
    for name, p in flat.items():
      p.grad = torch.tensor(np.asarray(g[name]))
    adam.step()
  for name, value in (
    ("stem", got["backbone"]["stem"]["kernel"]),
    ("scale", got["backbone"]["scale"]),
    ("kernel", got["head"]["kernel"]),
    ("bias", got["head"]["bias"]),
  ):
    expected = flat[name].detach().numpy()
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-5, err_msg=name)


def test_first_match_wins():
  rates = optim.rates([("kernel", 1.0), ("head", 2.0), ("", 3.0)], PARAMS)
  assert rates == {
    "backbone": {"stem": {"kernel": 1.0}, "scale": 3.0},
    "head": {"kernel": 1.0, "bias": 2.0},
  }


def test_unmatched_parameters_are_listed():
  with pytest.raises(errors.UserError, match="backbone/scale, head/bias .*'kernel'"):
    optim.adam([("kernel", 1.0)]).init(PARAMS)


def test_rate_zero_freezes():
  transform = optim.adam([("backbone", 0.0), ("", 0.1)], clip_norm=1.0)
  params, state = steps(transform, 3)
  np.testing.assert_array_equal(params["backbone"]["scale"], PARAMS["backbone"]["scale"])
  assert np.all(params["head"]["kernel"] != PARAMS["head"]["kernel"])
  sizes = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
  assert sizes == 2 * 3  # two moments of the head's three numbers, none of the backbone's


def test_frozen_gradients_do_not_count_in_the_norm():
  """Huge gradients of a frozen part leave the others' step as it would be without that part."""
  groups = [("backbone", 0.0), ("", 0.1)]
  alone = optim.adam(groups, clip_norm=0.5)
  head, head_state = {"head": PARAMS["head"]}, alone.init({"head": PARAMS["head"]})
  g = gradients(0)
  expected, _ = alone.update({"head": g["head"]}, head_state, head)
  g["backbone"] = jax.tree.map(lambda x: 1e6 * x, g["backbone"])
  got, _ = alone.update(g, alone.init(PARAMS), PARAMS)
  np.testing.assert_allclose(got["head"]["kernel"], expected["head"]["kernel"], rtol=1e-6)


def test_gradients_are_clipped_before_adam():
  """Adam's first step has the size of the rate; the second shows the ratio of the gradients."""
  params = {"w": jnp.array([0.0])}
  transform = optim.adam([("", 1.0)], clip_norm=1.0, b1=0.0, b2=0.5, eps=0.0)
  state = transform.init(params)
  _, state = transform.update({"w": jnp.array([100.0])}, state, params)
  update, _ = transform.update({"w": jnp.array([0.5])}, state, params)
  v = (0.5 * 0.5 * 1.0 + 0.5 * 0.25) / (1 - 0.25)  # the gradient of 100 entered as 1
  np.testing.assert_allclose(update["w"], [-0.5 / np.sqrt(v)], rtol=1e-5)


def test_schedules():
  cosine = optim.schedule("cosine", 110, warmup=10)
  got = [float(cosine(k)) for k in (0, 4, 9, 10, 35, 60, 110, 200)]
  np.testing.assert_allclose(
    got, [1 / 11, 5 / 11, 10 / 11, 1, (1 + np.cos(np.pi / 4)) / 2, 0.5, 0, 0], atol=1e-6
  )
  flat = optim.schedule("constant", 100, warmup=1)
  np.testing.assert_allclose([float(flat(k)) for k in (0, 1, 99)], [0.5, 1, 1])
  short = optim.schedule("cosine", 5, warmup=9)
  np.testing.assert_allclose([float(short(k)) for k in range(5)], np.arange(1, 6) / 10, rtol=1e-6)
  with pytest.raises(errors.UserError, match="'linear'.*constant, cosine"):
    optim.schedule("linear", 10)


def test_schedule_scales_the_update():
  params, grads = {"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}
  transform = optim.adam([("", 0.1)], schedule=optim.schedule("cosine", 4), eps=0.0)
  state, sizes = transform.init(params), []
  for _ in range(5):
    updates, state = transform.update(grads, state, params)
    sizes.append(-float(updates["w"][0]))
    np.testing.assert_allclose(optim.rate_factor(state), sizes[-1] / 0.1, rtol=1e-5, atol=1e-6)
  expected = 0.1 * (1 + np.cos(np.pi * np.arange(5) / 4)) / 2
  np.testing.assert_allclose(sizes, expected, rtol=1e-5, atol=1e-7)


def scales(factor, patience, values):
  state, out = optim.adam([("", 1.0)], plateau=optim.Plateau(factor, patience)).init(PARAMS), []
  update = jax.jit(optim.plateau_update)
  for value in values:
    state = update(state, value)
    out.append(float(state[1].plateau.scale))
  return out


def test_plateau_by_hand():
  """Patience 2: two bad values are borne, the third cuts, and the count begins anew."""
  values = [1.0, 0.9, 0.95, 0.9, 0.89995, 0.8, np.nan, 0.8, 0.9, 0.9, 0.9, 0.9]
  # 0.89995 is less than 0.9 by less than the threshold of 1e-4 * 0.9, so it is no improvement
  expected = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
  assert scales(0.5, 2, values) == expected


def test_plateau_equals_torch():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  for patience in (0, 3):
    values = np.abs(np.cumsum(rng.normal(size=60)) * 0.1 + 5 - 0.03 * np.arange(60))
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, factor=0.8, patience=patience)
    expected = []
    for value in values:
      plateau.step(float(value))
      expected.append(sgd.param_groups[0]["lr"])
    got = scales(0.8, patience, values)
    assert len(set(got)) > 3  # it did cut
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_plateau_cuts_the_update():
  plateau = optim.Plateau(0.1, 0)
  transform = optim.adam([("", 0.1)], plateau=plateau, eps=0.0)
  params, grads = {"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}
  state = transform.init(params)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))  # it must be savable
  for value in (1.0, 2.0):
    state = optim.plateau_update(state, value)
  updates, _ = transform.update(grads, state, params)
  np.testing.assert_allclose(updates["w"], [-0.01], rtol=1e-5)


def test_plateau_update_without_plateau():
  with pytest.raises(ValueError, match="no plateau"):
    optim.plateau_update(optim.adam([("", 1.0)]).init(PARAMS), 1.0)


def test_ema_over_steps():
  """Against the recursion in NumPy, with a momentum that changes."""
  rng = np.random.default_rng(0)
  teacher = expected = {"params": {"w": np.zeros(3, np.float32)}, "batch_stats": {"n": np.int32(0)}}
  expected = np.zeros(3)
  for t in range(30):
    w = rng.normal(size=3)
    momentum = min(0.6, (t + 1) / (t + 10))
    expected = momentum * expected + (1 - momentum) * w
    student = {"params": {"w": w.astype(np.float32)}, "batch_stats": {"n": np.int32(t)}}
    teacher = optim.ema(teacher, student, momentum)
  np.testing.assert_allclose(teacher["params"]["w"], expected, rtol=1e-5)
  assert teacher["batch_stats"]["n"] == 29 and teacher["batch_stats"]["n"].dtype == np.int32


def test_ema_refuses_other_shapes():
  with pytest.raises(ValueError, match=r"teacher has shape \(1, 3\), student \(3,\)"):
    optim.ema({"w": np.zeros((1, 3))}, {"w": np.zeros(3)}, 0.5)
