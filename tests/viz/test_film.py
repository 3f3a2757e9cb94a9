"""Frames of a film: where pictures stand, and that one scale holds for all."""

import numpy as np
import pytest

from bicross_jax.viz import colour, film


def _example(key, depth, shape=(60, 90), **more):
  return {
    "key": key,
    "rgb": np.full((*shape, 3), 77, np.uint8),
    "prediction": np.full(shape, depth, np.float32),
    **more,
  }


def _contains(frame, wanted):
  return (frame == np.asarray(wanted, np.uint8)[None, None]).all(-1).sum()


def test_all_frames_have_the_scale_of_the_first_or_the_one_given():
  ramp = np.linspace(2, 50, 60 * 90, dtype=np.float32).reshape(60, 90)
  first = _example("a", 1.0) | {"prediction": ramp}
  frames = list(film.frames([first, _example("b", 10.0), _example("c", 10.0)]))
  scale = colour.common_scale(ramp)
  ten = colour.depth_picture(np.full((1, 1), 10.0), scale)[0, 0]
  pixels = 4 * 4 * 60 * 90  # enlarged four times
  assert len(frames) == 3
  assert all(_contains(f, ten) >= pixels for f in frames[1:])
  assert all(_contains(f, (77, 77, 77)) >= pixels for f in frames)
  assert (frames[1] != frames[2]).any()  # the name
  given = colour.Scale(5, 20)
  frame = next(film.frames([_example("b", 10.0)], given))
  assert _contains(frame, colour.depth_picture(np.full((1, 1), 10.0), given)[0, 0]) >= pixels


@pytest.mark.parametrize("shape, layout", [((60, 90), "across"), ((60, 200), "down")])
def test_frames_are_even_and_of_one_size_whatever_comes(shape, layout):
  u = np.full(shape, 0.5, np.float32)
  small = (31, 47)
  examples = [
    _example("a", 3.0, shape, uncertainty=u),
    _example("b", 3.0, small, uncertainty=np.full(small, 0.1, np.float32)),
  ]
  frames = list(film.frames(examples))
  assert len({f.shape for f in frames}) == 1 and frames[0].dtype == np.uint8
  height, width, _ = frames[0].shape
  assert height % 2 == width % 2 == 0 and (height > width) == (layout == "down")


def test_spikes_without_uncertainty_and_nothing_at_all():
  spike = np.random.default_rng(0).integers(0, 256, (210, 300, 2), np.uint8)
  example = {"key": "s", "spike": spike, "prediction": np.full((210, 300), 4.0)}
  (frame,) = film.frames([example])
  grey = colour.spike_picture(spike)
  assert (frame[film.TITLE : film.TITLE + 210, film.GAP : film.GAP + 300] == grey).all()
  assert list(film.frames([])) == []
