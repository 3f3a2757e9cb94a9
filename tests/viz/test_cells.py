"""What every task shows: inputs of all kinds, uncertainty, features."""

import numpy as np
import pytest

from bicross_jax.viz import cells, colour


def test_spike_picture_is_the_mean_of_the_first_steps_as_a_display_shows_it():
  rng = np.random.default_rng(0)
  bits = rng.random((5, 6, 32)) < rng.random((5, 6, 1))
  spike = np.packbits(bits, axis=-1, bitorder="little")
  for steps in (8, 16, 32):
    rate = bits[..., :steps].mean(-1)
    linear = np.minimum(rate / np.percentile(rate, 99.5), 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    picture = cells.spike_picture(spike, steps)
    np.testing.assert_array_equal(picture, np.repeat(np.round(255 * srgb)[..., None], 3, -1))
  half = cells.spike_picture(spike, 16, white=0.5)
  np.testing.assert_array_equal(half[..., 0] == 255, bits[..., :16].mean(-1) >= 0.5 - 1e-3)
  assert not cells.spike_picture(spike * 0).any()
  for bad in [spike.astype(int), spike[0]]:
    with pytest.raises(ValueError, match="packed spikes"):
      cells.spike_picture(bad)


def test_a_real_recording_is_bright_enough_to_see(samples):
  stream = np.load(samples / "spike_real" / "real_spike.npz")["arr_0"]
  picture = cells.spike_picture(np.packbits(stream[..., :16], axis=-1, bitorder="little"))
  assert 120 < np.median(picture) < 200


def test_events_are_red_where_light_grows_and_blue_where_it_falls():
  events = np.zeros((2, 2, 3, 4), np.uint16)
  events[0, 0, :, 0] = 1  # left ON, three times
  events[0, 1, 0, 1] = 3  # left OFF
  events[1, 1, 2, 2] = 60_000  # right ON
  row = cells.inputs({"events": events}, cells.Scales(events=3))
  left, right = row[4, "events"].picture, row[5, "events, right"].picture
  np.testing.assert_array_equal(left[0], [[255, 0, 0], [0, 0, 255]])
  np.testing.assert_array_equal(left[1], 255)
  np.testing.assert_array_equal(right[1, 1], [255, 0, 0])
  assert (right == 255).all(-1).sum() == 3
  assert len(cells.inputs({"events": events[..., :1]}, cells.Scales())) == 1
  assert cells.scales([{"events": events}]).events > 3


def test_the_event_image_has_no_blue():
  image = np.random.default_rng(0).integers(0, 256, (4, 5, 2), np.uint8)
  (cell,) = cells.inputs({"event_image": image}, cells.Scales()).values()
  np.testing.assert_array_equal(cell.picture[..., :2], image)
  assert not cell.picture[..., 2].any()


def test_stereo_pairs_stand_side_by_side():
  rgb = np.zeros((3, 4, 3), np.uint8)
  spike = np.full((3, 4, 2), 255, np.uint8)
  example = {"spike_right": spike, "rgb_right": rgb, "spike": spike, "rgb": rgb + 9}
  row = cells.inputs(example, cells.scales([example]))
  assert [title for _, title in sorted(row)] == [
    "RGB",
    "RGB, right",
    "spikes, mean of 16 steps",
    "spikes, right",
  ]


def test_scales_are_the_highest_to_two_digits_and_pass_over_what_is_not_a_number():
  rng = np.random.default_rng(0)
  maps = [rng.uniform(0, high, (40, 50)) for high in (0.2, 0.8)]
  maps[0][0, 0] = np.inf
  features = [rng.normal(size=(4, 5, 8)), 10 * rng.normal(size=(4, 5, 8))]
  examples = [
    {"prediction": {"a": {"uncertainty": u}}, "feature": f} for u, f in zip(maps, features)
  ]
  scales = cells.scales(examples)
  assert scales.uncertainty == pytest.approx(np.percentile(maps[1], 99), rel=0.05)
  assert scales.uncertainty == float(f"{scales.uncertainty:.2g}")
  activity = np.sqrt((features[1] ** 2).mean(-1))
  assert scales.feature == pytest.approx(np.percentile(activity, 99), rel=0.05)
  nothing = [{"prediction": {"a": {"uncertainty": np.full((2, 2), np.nan)}}}, {}]
  assert cells.scales(nothing) == cells.Scales()


def test_pictures_that_a_network_makes():
  maps = {"as_source": np.array([[[0.0, 0.5, 1.2]]]), "depth": np.ones((1, 1))}
  made = cells.made(maps)
  assert list(made) == ["as source"]
  np.testing.assert_array_equal(made["as source"].picture, [[[0, 128, 255]]])


def test_uncertainty_and_feature_name_what_their_colours_mean():
  scales = cells.Scales(uncertainty=2.0, feature=4.0)
  cell = cells.uncertainty(np.array([[0.0, 1.0, 2.0, 5.0, np.nan]]), scales)
  light = cell.picture.astype(int).sum(-1)[0]
  assert light[0] < light[1] < light[2] == light[3] and light[4] == 0
  assert cell.bar.label == "uncertainty" and cell.bar.scale == colour.Scale(0, 2)
  feature = np.zeros((4, 4, 3))
  feature[:2] = [[[1.0, -1.0, 1.0]]]
  cell = cells.feature(feature, scales)
  want = colour.paint(np.array([[1.0]]), cells.FEATURE, colour.Scale(0, 4))
  np.testing.assert_array_equal(cell.picture[0, 0], want[0, 0])
  assert cell.bar.scale.high == 4
