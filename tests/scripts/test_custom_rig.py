"""A rig of one's own, from two folders and a calibration file to depth in metres, through the scripts."""

import json

import numpy as np
from PIL import Image
import pytest

from tests.scripts.conftest import script

SIZE = (40, 72)  # of the pictures, which are resized to 32x64
OVERRIDES = (
  *("model.divisor=16", "model.decoder=plain", "data.height=32", "data.width=64"),
  *("data.batch_size=2", "train.steps=2", "train.log_every=1", "train.validate_every=2"),
  "train.checkpoint_every=2",
)


@pytest.mark.slow
def test_from_two_folders_to_metres(shared, tmp_path, monkeypatch, capsys):
  rng = np.random.default_rng(0)
  for i in range(20):
    wide = rng.integers(0, 256, (SIZE[0], SIZE[1] + 4, 3)).astype(np.uint8)
    for side, start in (("left", 0), ("right", 4)):
      path = tmp_path / "rig" / side / f"{i:03d}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(wide[:, start : start + SIZE[1]]).save(path)
  (tmp_path / "rig" / "calibration.txt").write_text(f"60 60 36 20\n0.2\n{SIZE[1]} {SIZE[0]}\n")
  run = tmp_path / "run"
  flags = [f"--config.{word}" for word in OVERRIDES]
  data = f"--config.data.data_dir={tmp_path / 'rig'}"
  config = "configs/epcdepth.py:tiny,custom"
  assert script("train").main(["--config", config, data, "--workdir", str(run), *flags]) == 0
  result = json.loads((run / "result.json").read_text())
  assert result["metric"] == "photometric" and 0 < result["after"]["photometric"] < 1
  assert script("eval").main(["--checkpoint", str(run), "--output", str(tmp_path / "test")]) == 0
  assert "photometric" in capsys.readouterr().out
  pictures = str(tmp_path / "rig" / "left" / "000.png")
  out = tmp_path / "out"
  assert script("predict").main(["--checkpoint", str(run), pictures, "--output", str(out)]) == 0
  (depth,) = out.rglob("*.npy")
  found = np.load(depth)
  assert found.shape == SIZE and np.isfinite(found).all() and (found > 0).all()
