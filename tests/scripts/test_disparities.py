"""A trained network's disparities, saved and judged again; and real frames of KITTI."""

import json

import numpy as np
import pytest

import bicross_jax
from bicross_jax import errors
from bicross_jax.sim import domains
from bicross_jax.train.state import Camera
from tests.scripts.conftest import STAGES, script

FRAMES = ("0009_sync/0000000000", "0009_sync/0000000016", "0002_sync/0000000003")
PIXELS = {14740, 17213, 17260}  # in the Garg crop, as the samples' own description counts them


def _summary(folder):
  (file,) = folder.glob("eval-*/summary.json")
  return json.loads(file.read_text())


@pytest.mark.slow
def test_what_a_network_says_is_saved_and_judged_again(trained, model, tmp_path):
  run, file = trained("bicross-pretrain"), tmp_path / "saved" / "d.npy"
  argv = ["--checkpoint", str(run), "--output", str(tmp_path / "eval-run")]
  argv += ["--save_disparities", str(file), "--part", "validation"]
  assert script("eval").main(argv) == 0
  config = STAGES["bicross-pretrain"].config
  argv = ["--disparities", str(file), "--config", config, "--part", "validation"]
  assert script("eval").main(argv) == 0
  network, saved = _summary(tmp_path), _summary(file.parent)
  for name in ("abs_rel", "rmse", "d1", "images"):
    assert saved[name] == pytest.approx(network[name], rel=1e-4)
  assert saved["baselines"] == network["baselines"]
  camera = model("bicross-pretrain").camera
  assert camera == Camera(True, 0.6, camera.baseline, True) and camera.baseline > 0
  assert model("bicross-pretrain").meta["camera"] == camera._asdict()
  changed = bicross_jax.load(run, changes=["model.scale=0.5", "data.domain=rainy"])
  assert changed.config.model.scale == 0.5
  assert changed.camera.focal == domains.DOMAINS["rainy"].rig.focal
  for change, words in (("model.scal=1", "did you mean"), ("conv=slow", "choose from fast, exact")):
    with pytest.raises(errors.UserError, match=words):
      bicross_jax.load(run, changes=[change])


def test_disparities_of_real_frames(samples, place, tmp_path):
  v, u = np.mgrid[:320, :1024].astype(np.float64)
  disparity = 0.05 + 0.9 * (v / 320) ** 2 + 0.02 * np.sin(u / 50)
  np.save(tmp_path / "d.npy", np.stack([disparity] * 3))
  argv = ["--disparities", tmp_path / "d.npy", f"--data.data_dir={samples / 'kitti_raw'}"]
  argv += ["--data.domain=listed", "--no_baselines"]
  argv += ["--data.parts.test=" + ",".join(f"2011_09_26_drive_{frame}" for frame in FRAMES)]
  assert script("eval").main([str(a) for a in argv]) == 0
  (folder,) = tmp_path.glob("eval-*")
  assert folder.name == "eval-kitti_stereo-listed-test"
  rows = json.loads((folder / "images.json").read_text())
  assert {row["pixels"] for row in rows} == PIXELS
  summary = _summary(tmp_path)
  assert summary["protocol"]["truth_size"] == [375, 1242] and summary["images"] == 3
  assert summary["abs_rel"] == pytest.approx(0.290, abs=5e-4)
