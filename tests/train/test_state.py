"""What a recipe asks of its data."""

import jax.numpy as jnp

from bicross_jax import fields
from bicross_jax.config import sections
from bicross_jax.data import sets, world
from bicross_jax.train import state


def test_fields_of_an_example_are_those_of_the_world():
  """Whatever the world renders, and however the section cuts time."""
  section = sections.world()
  section.update(height=32, width=64, steps=48, bins=3, sensors=world.SENSORS)
  known = sets.SETS["world"].fields(section)
  names = [name for name in known if name in fields.FIELDS]
  assert {"rgb", "rgb_right", "spike", "events", "event_image", "depth", "label"} <= set(names)
  found = state.example(section, *names)
  assert list(found) == names
  for name, spec in found.items():
    shape, dtype = known[name]
    assert (spec.shape, spec.dtype) == (tuple(shape), jnp.dtype(dtype)), name


def test_other_fields_of_an_example():
  found = state.example(sections.world(), "reset", "baseline", "intrinsics")
  assert [spec.shape for spec in found.values()] == [(), (), (3, 3)]
  assert found["reset"].dtype == bool
