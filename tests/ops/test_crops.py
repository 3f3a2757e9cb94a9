import numpy as np
import pytest

from bicross_jax.ops import crops


@pytest.mark.parametrize(
  "height,width,box",
  [
    (375, 1242, (153, 371, 44, 1197)),
    (352, 1216, (143, 349, 43, 1172)),
    (96, 160, (39, 95, 5, 154)),
  ],
)
def test_garg_crop_rounds_down(height, width, box):
  # 375x1242 is the published crop of KITTI frames (Garg et al.).
  assert crops.box("garg", height, width) == box
  rows, columns = np.nonzero(crops.mask("garg", height, width))
  assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == box
  assert len(rows) == (box[1] - box[0]) * (box[3] - box[2])


def test_other_crops():
  assert crops.box("none", 96, 160) == (0, 96, 0, 160)
  assert crops.box("eigen", 375, 1242) == (124, 342, 44, 1197)
  with pytest.raises(ValueError, match="gargg.*none, garg, eigen"):
    crops.box("gargg", 96, 160)
