"""A bar for every share, with its number, in order."""

import numpy as np
from PIL import Image

from bicross_jax.viz import bars

SHARES = {"input": 0.182, "conv1": 0.0, "add1": 0.341}


def test_bars_say_their_numbers():
  axes = bars.figure(SHARES, "title", "label").axes[0]
  widths = [patch.get_width() for patch in axes.patches]
  np.testing.assert_allclose(widths, [18.2, 0, 34.1])
  assert [text.get_text() for text in axes.texts] == ["18.2", "0.0", "34.1"]
  assert [text.get_text() for text in axes.get_yticklabels()] == list(SHARES)
  assert axes.yaxis_inverted() and axes.get_xlim()[1] > 34.1
  assert axes.get_legend().get_texts()[0].get_text() == "mean 17.4 %"


def test_the_picture_is_written_whole(tmp_path):
  bars.save(tmp_path / "a.png", dict.fromkeys("abc", 0.0), "nothing fires", "%")
  picture = np.array(Image.open(tmp_path / "a.png"))
  assert picture.min() < 100 and picture.max() == 255
  assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
