"""NYU v2's test frames in HDF5 files."""

import h5py
import jax
import ml_collections
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.data import pipeline
from bicross_jax.data.layouts import nyu_test

SPEC = {
  "rgb": jax.ShapeDtypeStruct((427, 561, 3), np.uint8),
  "depth": jax.ShapeDtypeStruct((427, 561), np.float32),
}


def _write(path, **changed):
  rng = np.random.default_rng(0)
  arrays = {
    "rgb": rng.integers(0, 256, (3, 480, 640), np.uint8),
    "depth": rng.uniform(0.7, 10, (480, 640)),
    "norm": np.zeros((3, 480, 640), np.float32),
    **changed,
  }
  arrays["depth"].flat[::7] = 0
  path.parent.mkdir(exist_ok=True)
  with h5py.File(path, "w") as file:
    for name, array in arrays.items():
      file[name] = array
  return arrays


def _open(folder, part="test"):
  config = ml_collections.ConfigDict(
    dict(
      name="nyu_v2_test",
      domain="test",
      data_dir=str(folder),
      height=427,
      width=561,
      steps=8,
      limit=0,
      labelled=0,
      batch_size=1,
      allow_missing=True,
    )
  )
  return pipeline.open(config, parts=(part,))


def test_a_frame_is_what_is_inside_of_the_border(tmp_path, monkeypatch):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  arrays = _write(tmp_path / "nyu_test" / "00009.h5")
  ((batch, (truth,)),) = _open(tmp_path).batches(SPEC, seed=0).evaluation("test")
  assert truth["key"] == "00009"
  want = arrays["rgb"].transpose(1, 2, 0)[44:471, 40:601]
  np.testing.assert_array_equal(batch["rgb"][0], want)
  np.testing.assert_array_equal(truth["depth"], arrays["depth"][44:471, 40:601].astype(np.float32))
  with pytest.raises(errors.UserError, match="has no frames to train with, .* the parts test"):
    _open(tmp_path, "train")


def test_the_list_has_its_654_frames(tmp_path):
  names = nyu_test.names()
  assert len(set(names)) == 654 and list(names) == sorted(names)
  assert names[:3] == ("00001", "00002", "00009") and names[-1] == "01449"
  (tmp_path / "nyu_test").mkdir()
  with pytest.raises(errors.UserError, match="654 of the 654 test frames lack files: .*00001.h5"):
    nyu_test.SET.recordings(tmp_path, "test", "test")


@pytest.mark.parametrize(
  "changed, words",
  [
    (dict(depth=np.ones((480, 639))), "depth has shape .480, 639. .expected .480, 640."),
    (dict(rgb=np.zeros((480, 640, 3), np.uint8)), "rgb has shape"),
    (dict(rgb=np.zeros((3, 480, 640), np.float32)), "rgb is float32 .expected uint8"),
    (dict(rgb=np.zeros((480, 640), np.uint8)), "3 axes"),
  ],
)
def test_files_of_another_form_are_refused(tmp_path, monkeypatch, changed, words):
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "built"))
  _write(tmp_path / "nyu_test" / "00001.h5", **changed)
  with pytest.raises(errors.BadFileError, match=words):
    _open(tmp_path)
