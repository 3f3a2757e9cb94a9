"""Random enlargement: pictures bilinearly, labels by the nearest pixel, both of the same part."""

import jax
import numpy as np
import pytest

from bicross_jax.ops import zoom

H, W = 12, 20


def _ramp(rows, columns, count=1):
  """A picture whose value is a linear function of the place, uint8[count, H, W, 1]."""
  y, x = np.mgrid[:H, :W]
  return np.broadcast_to((rows * y + columns * x).astype(np.uint8)[..., None], (count, H, W, 1))


def _corner(out, scale):
  """(row, column) of what was cut out, read from ramps of 8 a row and 8 a column, pixels."""
  # Output pixel k shows the place corner + (k + 1/2) / scale, whose value is 8 (place - 1/2).
  y, x = (np.asarray(out[name], np.float64)[..., 0] / 8 + 0.5 for name in ("rgb", "rgb_right"))
  row = y.mean() - H / 2 / scale
  return row, x.mean() - W / 2 / scale


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 0.75)])
def test_scales_of_at_most_one_change_nothing(scales):
  rng = np.random.default_rng(0)
  batch = {
    "rgb": rng.integers(0, 256, (3, H, W, 3)).astype(np.uint8),
    "label": rng.integers(0, 256, (3, H, W)).astype(np.uint8),
  }
  out = zoom.random_zoom(jax.random.key(0), batch, scales)
  for name, x in batch.items():
    assert out[name].dtype == x.dtype
    np.testing.assert_array_equal(out[name], x)


def test_every_example_has_a_scale_and_a_corner_of_its_own_inside_of_the_frame():
  count, scales = 40, (0.5, 1.25, 2.0)
  batch = {"rgb": _ramp(8, 0, count), "rgb_right": _ramp(0, 8, count)}
  out = jax.jit(lambda key: zoom.random_zoom(key, batch, scales))(jax.random.key(1))
  rows = np.asarray(out["rgb"], np.float64)[..., 0] / 8
  middle = slice(2, -2)
  slopes = np.diff(rows[:, middle, 0], axis=1).mean(1)  # rows of the frame in one of the output
  seen = np.array([min((1.0, 1.25, 2.0), key=lambda s: abs(1 / s - slope)) for slope in slopes])
  assert set(seen) == {1.0, 1.25, 2.0}
  np.testing.assert_allclose(slopes, 1 / seen, atol=0.03)
  corners = []
  for i, scale in enumerate(seen):
    row, column = _corner({name: x[i] for name, x in out.items()}, scale)
    assert -0.2 <= row <= H - H / scale + 0.2 and -0.2 <= column <= W - W / scale + 0.2
    corners += [(row, column)] if scale == 2 else []
  assert np.ptp(corners, axis=0).min() > 3  # they are everywhere


@pytest.mark.parametrize("scale", [1.25, 2.0, 3.5])
def test_a_label_is_that_of_the_nearest_pixel_to_what_the_picture_shows(scale):
  """A label that is the number of its pixel, beside pictures that are its row and its column."""
  number = np.arange(H * W, dtype=np.uint8).reshape(1, H, W)
  batch = {"rgb": _ramp(8, 0), "rgb_right": _ramp(0, 8), "label": number}
  for seed in range(5):
    out = zoom.random_zoom(jax.random.key(seed), batch, (scale,))
    out = {name: np.asarray(x[0]) for name, x in out.items()}
    row, column = np.divmod(out["label"], W)
    rounding = 0.5 / 8
    assert np.abs(row - out["rgb"][..., 0] / 8).max() <= 0.5 + rounding
    assert np.abs(column - out["rgb_right"][..., 0] / 8).max() <= 0.5 + rounding
    shown = (np.unique(row).size, np.unique(column).size)
    assert np.abs(np.array(shown) - (H / scale, W / scale)).max() < 2


def test_pictures_equal_torch_bilinear():
  """Twice as large, the part that was cut out is that of torch's resize of the whole frame."""
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(4)
  image = rng.integers(0, 256, (1, H, W, 2)).astype(np.uint8)
  key = jax.random.key(3)
  corner_key = jax.random.split(key, 2)[1]
  corner = np.asarray(jax.random.uniform(corner_key, (1, 2)))[0] * 0.5 * (H, W)
  out = np.asarray(zoom.random_zoom(key, {"event_image": image}, (2.0,))["event_image"][0])
  x = torch.tensor(image.astype(np.float32)).permute(0, 3, 1, 2)
  y, x_ = ((torch.arange(n) + 0.5) / 2 + c for n, c in zip((H, W), corner, strict=True))
  grid = torch.stack(torch.meshgrid(2 * y / H - 1, 2 * x_ / W - 1, indexing="ij")[::-1], -1)
  want = torch.nn.functional.grid_sample(
    x, grid[None].float(), mode="bilinear", padding_mode="border", align_corners=False
  )
  want = want[0].permute(1, 2, 0).numpy()
  assert np.abs(out - want).max() <= 0.51  # rounded to whole numbers


def test_it_is_a_function_of_the_key():
  batch = {"rgb": _ramp(8, 0, 2)}
  first, same, other = (
    np.asarray(zoom.random_zoom(jax.random.key(k), batch, (1.5,))["rgb"]) for k in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, same)
  assert (first != other).any()
