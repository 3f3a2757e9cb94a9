"""Real input: KITTI raw frames become BiCross's layout, and crossmodality trains and tests on it.

The path is what is tested: these are a few frames of test drives, so the numbers mean nothing.
"""

import json

import numpy as np
import pytest

from tests.scripts.conftest import script

FRAMES = "2011_09_26_drive_0009_sync,2011_09_26_drive_0002_sync/0000000003"


@pytest.mark.slow
def test_crossmodality_on_streams_made_of_kitti_frames(samples, place, monkeypatch):
  monkeypatch.chdir(place)
  raw, kitti = samples / "kitti_raw", place / "kitti"
  assert script("simulate_spikes").main(["--kitti_raw", str(raw), "--output", str(kitti)]) == 0
  fields = [
    f"data.data_dir={kitti}",
    "data.domain=listed",
    "data.batch_size=2",
    *(f"data.parts.{part}={FRAMES}" for part in ("train", "validation", "test")),
    "model.backbone=nano",
    "model.activation=softplus",
    "model.scale=0.1",
    "model.shift=0",
    "input.height=32",
    "input.width=96",
    "train.steps=2",
  ]
  flags = [f"--config.{field}" for field in fields]
  flags += [f"--config.parents.teacher.{field}=2" for field in ("train.steps", "data.batch_size")]
  run = place / "kitti_run"
  assert (
    script("train").main(
      ["--config", "configs/bicross.py:crossmodality,scene", *flags, "--workdir", str(run)]
    )
    == 0
  )
  result = json.loads((run / "result.json").read_text())
  assert np.isfinite(result["after"]["abs_rel"])
  assert script("eval").main(["--checkpoint", str(run)]) == 0
  rows = json.loads((run / "eval-kitti-listed-test" / "images.json").read_text())
  # Pixels of the Garg crop in 0.001-80 m, as the samples' own description counts them.
  pixels = {row["key"].split("/", 1)[-1][-30:]: row["pixels"] for row in rows}
  assert {14740, 17213, 17260} <= set(pixels.values()), pixels
