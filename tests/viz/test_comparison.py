"""The strip and the frames of a video."""

import numpy as np
import pytest

from bicross_jax.viz import colour, comparison, panels


def _example(seed=0):
  rng = np.random.default_rng(seed)
  return {
    "key": f"frame {seed}",
    "rgb": rng.integers(0, 255, (24, 40, 3), dtype=np.uint8),
    "spike": rng.integers(0, 255, (24, 40, 16), dtype=np.uint8),
    "depth": rng.uniform(2, 50, (24, 40)),
    "prediction": {"a": rng.uniform(2, 50, (12, 20)), "b": rng.uniform(2, 50, (24, 40))},
    "abs_rel": {"a": 0.1234, "b": float("nan")},
  }


def _images(figure):
  return [a.images[0].get_array() for a in figure.axes if not a.axison]


def test_columns_captions_and_one_bar():
  examples = [_example(), _example(1)]
  figure = comparison.figure(examples)
  words = [t.get_text() for t in figure.texts]
  assert words[:5] == ["RGB", "spikes, mean of 16 steps", "a", "b", "ground truth"]
  assert words[5:] == ["frame 0", "AbsRel 0.123", "frame 1", "AbsRel 0.123"]  # NaN is not written
  bars = [a for a in figure.axes if a.axison]
  assert [a.get_xlabel() for a in bars] == [panels.LABELS["depth"]]
  scale = panels.shared_scales(examples).depth
  drawn = _images(figure)
  assert len(drawn) == 10
  first = examples[0]["prediction"]["a"]
  np.testing.assert_array_equal(drawn[2], colour.depth_picture(first, scale))
  np.testing.assert_array_equal(drawn[9], colour.depth_picture(examples[1]["depth"], scale))


def test_sparse_truth_is_thickened_and_can_be_absent():
  example = _example()
  example["depth"] = np.zeros((24, 40))
  example["depth"][5, 5] = 10.0
  drawn = _images(comparison.figure([example]))
  assert (drawn[4].sum(-1) > 0).sum() == 9
  del example["depth"]
  assert len(_images(comparison.figure([example]))) == 4


def test_frames_keep_one_scale():
  examples = [_example(i) for i in range(3)]
  examples[2]["depth"] = examples[2]["depth"] * 3
  scales = panels.shared_scales(examples)
  frames = list(comparison.frames(examples, scales, dpi=60))
  assert len({f.shape for f in frames}) == 1 and frames[0].dtype == np.uint8
  bar = [f[-int(0.42 * 60) :] for f in frames]
  np.testing.assert_array_equal(bar[0], bar[1])
  np.testing.assert_array_equal(bar[0], bar[2])
  assert bar[0].std() > 0 and not np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize("single", [True, False])
def test_what_is_in_a_frame_follows_from_the_number_of_networks(single):
  example = _example()
  if single:
    example["prediction"], example["abs_rel"] = example["prediction"]["a"], 0.5
    example["uncertainty"] = np.full((12, 20), 0.5)
  (frame,) = comparison.frames([example], panels.shared_scales([example]), dpi=60)
  columns = 6 if single else 5  # with error and uncertainty, without the second network
  assert frame.shape[1] == pytest.approx(60 * (columns * 2.66 + 0.06), abs=2)
