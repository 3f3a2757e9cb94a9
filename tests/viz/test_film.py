"""Frames of a film: where pictures stand, and that all are of one size."""

import numpy as np
import pytest

from bicross_jax.viz import colour, film, panels

BAR = panels.Bar("metres", colour.Ramp("magma"), colour.Scale(1, 9, "log"))


def _row(value, shape=(60, 90), names=("in", "out"), bar=BAR, caption=""):
  cell = panels.Cell(np.full((*shape, 3), value, np.uint8), bar, caption)
  return dict.fromkeys(enumerate(names), cell)


def _count(frame, value):
  return (frame == value).all(-1).sum()


def test_small_pictures_are_enlarged_by_a_whole_factor_and_unchanged():
  rows = [("a", _row(77)), ("b", _row(91))]
  frames = list(film.frames(rows))
  assert len(frames) == 2 and frames[0].dtype == np.uint8
  for frame, value in zip(frames, (77, 91), strict=True):
    assert _count(frame, value) >= 2 * 4 * 4 * 60 * 90
  assert (frames[0] != frames[1]).any(-1)[: film.KEY].any()  # the name
  exact = np.random.default_rng(0).integers(0, 255, (210, 300, 3), np.uint8)
  (frame,) = film.frames([("", {(0, "x"): panels.Cell(exact)})])
  top = film.KEY + film.TITLE
  np.testing.assert_array_equal(frame[top : top + 210, film.GAP : film.GAP + 300], exact)


@pytest.mark.parametrize("shape", [(60, 90), (60, 200), (375, 1242), (1080, 1920)])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_frames_are_even_not_too_large_and_wide_like_a_screen(shape, count):
  names = [str(i) for i in range(count)]
  small = tuple(n // 2 for n in shape)
  frames = list(film.frames([("a", _row(3, shape, names)), ("b", _row(4, small, names))]))
  assert len({f.shape for f in frames}) == 1
  height, width, _ = frames[0].shape
  assert height % 2 == width % 2 == 0 and width <= film.WIDEST
  if count > 1:
    assert 0.5 < width / height < 4


def test_frames_of_a_sequence_in_which_some_lack_the_truth():
  with_truth = _row(50, names=("in", "out", "truth"), caption="AbsRel 0.1")
  rows = [("a", _row(60, caption="")), ("b", with_truth), ("c", _row(70))]
  template = film.template(row for _, row in rows)
  assert list(template) == [(0, "in"), (1, "out"), (2, "truth")]
  frames = list(film.frames(rows, template))
  assert len({f.shape for f in frames}) == 1
  assert _count(frames[1], 50) >= 3 * 16 * 60 * 90 and _count(frames[0], 60) < 2.1 * 16 * 60 * 90
  with pytest.raises(ValueError, match="the template lacks"):
    list(film.frames(rows))


def test_odd_names_are_drawn_and_nothing_is_no_film():
  names = ["$", "\\frac{", "a\udcffb", "\n", "\u5916", ""]
  frames = list(film.frames((name, _row(5, names=names)) for name in names))
  assert len(frames) == len(names)
  assert list(film.frames([])) == []
  with pytest.raises(ValueError, match="no example"):
    list(film.frames([("a", {})]))
