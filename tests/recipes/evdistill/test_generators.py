"""EvDistill's generators and discriminators fit between frames and event images."""

import jax
import pytest

from bicross_jax import models
from bicross_jax.recipes.evdistill import student
from tests.recipes.evdistill.conftest import load
from tests.recipes.evdistill.toy import SIZE


@pytest.mark.parametrize("grey, channels", [(True, 1), (False, 3)])
@pytest.mark.parametrize("kind", ["motion", "translator"])
def test_what_goes_in_and_comes_out(kind, grey, channels):
  """Traced, not computed."""
  config = load("student", f"input.grey={grey}", f"bmr.events={kind}")
  generators, critics = student.translators(config)
  held = {"events": 2, "image": channels}
  for name, one, other in (("to_events", "image", "events"), ("to_image", "events", "image")):
    x = jax.ShapeDtypeStruct((2, *SIZE, held[one]), "float32")

    def go(x, net=generators[name]):
      params = models.init(net, jax.random.key(0), (1, *SIZE, net.in_channels))["params"]
      return student.translate(net, params, x, jax.random.key(1))

    made = jax.eval_shape(go, x)
    assert made.shape == (2, *SIZE, held[other]) and made.dtype == "float32"

    def judge(x, net=critics[other], name=other):
      params = models.init(net, jax.random.key(0), (1, *SIZE, net.in_channels))["params"]
      return student.score(critics, {name: params}, name, x)

    assert jax.eval_shape(judge, made).ndim == 3
