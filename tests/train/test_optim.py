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


# A weight decay that shows after a few steps, and one group without.
GROUPS = (
  optim.Group(1e-3, "^backbone/", "backbone", weight_decay=0.7),
  optim.Group(0.05, r"kernel$", "kernel", weight_decay=0.3),
  optim.Group(0.2, name="rest"),
)


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


def torch_steps(make, n, decays, clip_norm=0.0):
  """Parameters after n steps of torch's optimiser on GROUPS, leaf by leaf as jax.tree.leaves."""
  torch = pytest.importorskip("torch")
  leaves = [torch.tensor(np.asarray(x), requires_grad=True) for x in jax.tree.leaves(PARAMS)]
  number = [0, 0, 2, 1]  # the group of backbone/scale, backbone/stem/kernel, head/bias, head/kernel
  optimiser = make(
    torch.optim,
    [
      {
        "params": [x],
        "lr": GROUPS[k].rate,
        "weight_decay": GROUPS[k].weight_decay if decays else 0.0,
      }
      for x, k in zip(leaves, number, strict=True)
    ],
  )
  for k in range(n):
    for x, g in zip(leaves, jax.tree.leaves(gradients(k)), strict=True):
      x.grad = torch.tensor(g)
    if clip_norm:
      torch.nn.utils.clip_grad_norm_(leaves, clip_norm)
    optimiser.step()
  return [x.detach().numpy() for x in leaves]


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize(
  "ours, theirs",
  [
    (optim.adam, lambda o, groups: o.Adam(groups)),
    (optim.adamw, lambda o, groups: o.AdamW(groups)),
    (optim.sgd, lambda o, groups: o.SGD(groups)),
    (lambda g, **k: optim.sgd(g, momentum=0.9, **k), lambda o, groups: o.SGD(groups, momentum=0.9)),
    (
      lambda g, **k: optim.sgd(g, momentum=0.9, nesterov=True, **k),
      lambda o, groups: o.SGD(groups, momentum=0.9, nesterov=True),
    ),
  ],
  ids=["adam", "adamw", "sgd", "momentum", "nesterov"],
)
def test_optimisers_equal_torch(ours, theirs, decays, clip_norm):
  expected = torch_steps(theirs, 20, decays, clip_norm)
  groups = GROUPS if decays else [g._replace(weight_decay=0.0) for g in GROUPS]
  got, _ = steps(ours(groups, clip_norm=clip_norm), 20)
  for a, b in zip(jax.tree.leaves(got), expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-5)


def test_first_match_wins():
  groups = [optim.Group(1.0, "kernel"), optim.Group(2.0, "head"), optim.Group(3.0)]
  assert optim.assign(groups, PARAMS) == {
    "backbone": {"stem": {"kernel": 0}, "scale": 2},
    "head": {"kernel": 0, "bias": 1},
  }


def test_unmatched_parameters_are_listed():
  with pytest.raises(errors.UserError, match="backbone/scale, head/bias .*'kernel'"):
    optim.adam([optim.Group(1.0, "kernel")]).init(PARAMS)


FROZEN = (optim.Group(0.0, "backbone", "backbone"), optim.Group(0.1))


def test_groups_of_one_name_are_refused():
  with pytest.raises(ValueError, match="names of their own"):
    optim.adam([optim.Group(1.0, "kernel"), optim.Group(2.0)])


def test_rate_zero_freezes():
  transform = optim.adam(FROZEN, clip_norm=1.0)
  params, state = steps(transform, 3)
  np.testing.assert_array_equal(params["backbone"]["scale"], PARAMS["backbone"]["scale"])
  assert np.all(params["head"]["kernel"] != PARAMS["head"]["kernel"])
  sizes = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
  assert sizes == 2 * 3  # two moments of the head's three numbers, none of the backbone's


def test_frozen_gradients_do_not_count_in_the_norm():
  """Huge gradients of a frozen part leave the others' step as it would be without that part."""
  alone = optim.adam(FROZEN, clip_norm=0.5)
  head, head_state = {"head": PARAMS["head"]}, alone.init({"head": PARAMS["head"]})
  g = gradients(0)
  expected, _ = alone.update({"head": g["head"]}, head_state, head)
  g["backbone"] = jax.tree.map(lambda x: 1e6 * x, g["backbone"])
  got, _ = alone.update(g, alone.init(PARAMS), PARAMS)
  np.testing.assert_allclose(got["head"]["kernel"], expected["head"]["kernel"], rtol=1e-6)


def test_gradients_are_clipped_before_adam():
  """Adam's first step has the size of the rate; the second shows the ratio of the gradients."""
  params = {"w": jnp.array([0.0])}
  transform = optim.adam([optim.Group(1.0)], clip_norm=1.0, b1=0.0, b2=0.5, eps=0.0)
  state = transform.init(params)
  _, state = transform.update({"w": jnp.array([100.0])}, state, params)
  update, _ = transform.update({"w": jnp.array([0.5])}, state, params)
  v = (0.5 * 0.5 * 1.0 + 0.5 * 0.25) / (1 - 0.25)  # the gradient of 100 entered as 1
  np.testing.assert_allclose(update["w"], [-0.5 / np.sqrt(v)], rtol=1e-5)


def test_schedule_scales_the_update():
  params, grads = {"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}
  transform = optim.adam([optim.Group(0.1)], schedule=optim.schedule("cosine", 4), eps=0.0)
  state, sizes = transform.init(params), []
  for _ in range(5):
    updates, state = transform.update(grads, state, params)
    sizes.append(-float(updates["w"][0]))
    np.testing.assert_allclose(optim.learning_rates(state)["lr"], sizes[-1], rtol=1e-5, atol=1e-7)
  expected = 0.1 * (1 + np.cos(np.pi * np.arange(5) / 4)) / 2
  np.testing.assert_allclose(sizes, expected, rtol=1e-5, atol=1e-7)


def scales(factor, patience, values):
  state, out = (
    optim.adam([optim.Group(1.0)], plateau=optim.Plateau(factor, patience)).init(PARAMS),
    [],
  )
  update = jax.jit(optim.plateau_update)
  for value in values:
    state = update(state, value)
    out.append(float(state[-1].plateau.scale))
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
  transform = optim.adam([optim.Group(0.1)], plateau=plateau, eps=0.0)
  params, grads = {"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}
  state = transform.init(params)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))  # it must be savable
  for value in (1.0, 2.0):
    state = optim.plateau_update(state, value)
  updates, state = transform.update(grads, state, params)
  np.testing.assert_allclose(updates["w"], [-0.01], rtol=1e-5)
  np.testing.assert_allclose(optim.learning_rates(state)["lr"], 0.01, rtol=1e-5)


def test_plateau_update_without_plateau():
  with pytest.raises(ValueError, match="no plateau"):
    optim.plateau_update(optim.adam([optim.Group(1.0)]).init(PARAMS), 1.0)


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


def square(params):
  """Loss, part and aux of a step whose gradient is known: 2 w."""
  return jnp.sum(params["w"] ** 2), ({"half": jnp.sum(params["w"]) / 2, "pair": (3, 4)}, "aux")


def test_one_step():
  """Gradient (6, 8), rate 0.1, by hand; everything that is to be logged."""
  params = {"w": jnp.array([3.0, 4.0])}
  groups = [optim.Group(0.0, "frozen", "frozen"), optim.Group(0.1, "w", "net")]
  transform = optim.sgd(groups, schedule=optim.schedule("constant", 9, warmup=1))
  got, state, metrics, aux = optim.step(
    transform, square, params, transform.init(params), axis_name=None
  )
  np.testing.assert_allclose(got["w"], [3 - 0.05 * 6, 4 - 0.05 * 8], rtol=1e-6)
  means = {name: float(total / count) for name, (total, count) in metrics.items()}
  expected = {"loss": 25.0, "half": 3.5, "pair": 0.75, "grad_norm": 10.0, "lr/net": 0.05}
  assert means == pytest.approx(expected) and aux == "aux"
  *_, metrics, _ = optim.step(transform, square, got, state, axis_name=None, prefix="net/")
  assert float(metrics["net/lr/net"][0]) == pytest.approx(0.1) and len(metrics) == 5


def test_any_transform_of_optax_makes_a_step():
  params = {"w": jnp.array([3.0, 4.0])}
  transform = optax.sgd(0.5)
  got, _, metrics, _ = optim.step(transform, square, params, transform.init(params), axis_name=None)
  np.testing.assert_allclose(got["w"], [0, 0], atol=1e-6)
  assert metrics.keys() == {"loss", "half", "pair", "grad_norm"}


def test_gradients_are_averaged_over_the_devices():
  """Under a mapped axis (vmap's): two devices, whose gradients are 2 and 6."""
  params = {"w": jnp.zeros(())}
  transform = optim.sgd([optim.Group(1.0)])
  loss = lambda x: lambda p: (x * p["w"], ({}, ()))
  body = lambda x: optim.step(transform, loss(x), params, transform.init(params))
  got, _, metrics, _ = jax.vmap(body, axis_name="batch")(jnp.array([2.0, 6.0]))
  np.testing.assert_allclose(got["w"], [-4, -4])
  np.testing.assert_allclose(metrics["grad_norm"][0], [4, 4])


def test_apart_equals_separate_optimisers():
  """Networks at rates and by optimisers of their own, from the gradients of one loss."""
  transforms = {
    "backbone": optim.sgd([optim.Group(0.1, name="slow")], momentum=0.9, nesterov=True),
    "head": optim.adam([optim.Group(0.02, name="fast", weight_decay=0.3)]),
  }
  together, state = steps(optim.apart(transforms), 5)
  assert set(state) == set(transforms)
  for name, transform in transforms.items():
    alone, own = PARAMS[name], transform.init(PARAMS[name])
    for k in range(5):
      updates, own = transform.update(gradients(k)[name], own, alone)
      alone = optax.apply_updates(alone, updates)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together[name]), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-6)
  rates = optim.learning_rates(state)
  assert {name: float(x) for name, x in rates.items()} == pytest.approx(
    {"lr/slow": 0.1, "lr/fast": 0.02}
  )
