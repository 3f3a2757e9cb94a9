"""What a stage says of the networks that no parent gives."""

import types

import jax
import jax.numpy as jnp
import pytest

from bicross_jax.commands import training

DRAWN = {"encoder": {"kernel": jnp.ones(2)}, "decoder": {"kernel": jnp.ones(3)}}


def _recipe(params, networks):
  """A recipe that begins with what `params(parents)` gives."""
  return types.SimpleNamespace(
    init=lambda key, parents: {"params": params(parents), "batch_stats": {}},
    variables=lambda state: state,
    networks=networks,
  )


def _drawn():
  return jax.tree.map(lambda x: x * jax.random.normal(jax.random.key(0), x.shape), DRAWN)


@pytest.mark.parametrize("given", [{"encoder"}, {"encoder", "decoder"}, set()])
def test_modules_of_one_network(given):
  weights = {"params": {name: DRAWN[name] for name in given}}
  one = _recipe(lambda parents: _drawn() | dict(parents["weights"]["params"]), {"depth": None})
  assert training._new_modules(one, {"weights": weights}) == sorted({"encoder", "decoder"} - given)


def test_networks_and_modules_of_several():
  """A network counts as given whichever parent it comes from, and in whatever form."""

  def params(parents):
    return {
      "task": _drawn() | {"encoder": {"kernel": 2 * parents["weights"]["params"]["kernel"]}},
      "frozen": parents["generators"]["params"],
      "head": _drawn(),
    }

  several = _recipe(params, dict.fromkeys(("task", "frozen", "head")))
  parents = {"weights": {"params": DRAWN["encoder"]}, "generators": {"params": _drawn()}}
  assert training._new_modules(several, parents) == ["head", "task/decoder"]
  assert training._new_modules(several, {"generators": parents["generators"]}) == []
