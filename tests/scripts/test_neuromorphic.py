"""Stage `neuromorphic` through the scripts: it trains, loads, predicts and is evaluated."""

import json

import numpy as np
import pytest

import bicross_jax
from bicross_jax.data.formats import spikes
from tests.scripts.conftest import SMALL, script


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["usenet", "senet"])
def test_train_load_predict_eval(kind, place, tmp_path, monkeypatch):
  monkeypatch.chdir(place)
  run = tmp_path / "run"
  small = [s for s in SMALL if "parent" not in s]
  assert (
    script("train").main(
      [
        "--config",
        f"configs/bicross.py:neuromorphic,front_end.kind={kind}",
        *small,
        "--workdir",
        str(run),
      ]
    )
    == 0
  )
  result = json.loads((run / "result.json").read_text())
  assert result["steps"] == 2 and np.isfinite(result["after"]["abs_rel"])
  model = bicross_jax.load(run)
  assert set(model.variables["params"]) == {"front_end", "dpt"}
  assert bool(model.variables["batch_stats"]) == (kind == "usenet")
  out = model.predict({"spike": np.zeros((2, 32, 64, 16), np.uint8)})
  assert out["depth"].shape == (2, 32, 64) and (out["depth"] > 0).all()
  spikes.write_npy(tmp_path / "a.npy", np.zeros((128, 40, 64), np.uint8))
  assert (
    script("predict").main(
      [str(tmp_path / "a.npy"), "--checkpoint", str(run), "--output", str(tmp_path / "out")]
    )
    == 0
  )
  assert np.load(tmp_path / "out" / "a_depth.npy").shape == (40, 64)
  assert script("eval").main(["--checkpoint", str(run)]) == 0
