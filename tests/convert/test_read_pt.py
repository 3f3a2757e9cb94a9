"""The reader of PyTorch files."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.convert import read_pt


class _NotWeights:
  """What a checkpoint must not be able to run."""


def test_reads_plain_and_wrapped_state_dicts(tmp_path):
  torch = pytest.importorskip("torch")
  state = {"a.weight": torch.arange(6.0).reshape(2, 3).bfloat16(), "a.n": torch.tensor(3)}
  for i, content in enumerate((state, {"state_dict": state, "epoch": 4})):
    path = tmp_path / f"{i}.pt"
    torch.save(content, path)
    got = read_pt.read_pt(path)
    np.testing.assert_array_equal(got["a.weight"], np.arange(6.0, dtype=np.float32).reshape(2, 3))
    assert got["a.weight"].dtype == np.float32 and got["a.n"] == 3


def test_bad_files_are_told(tmp_path):
  torch = pytest.importorskip("torch")
  with pytest.raises(errors.BadFileError, match="no such file"):
    read_pt.read_pt(tmp_path / "absent.pt")
  for name, content in (("list", [1, 2]), ("mixed", {"a": 3}), ("empty", {})):
    torch.save(content, tmp_path / name)
    with pytest.raises(errors.BadFileError, match="dict of tensors"):
      read_pt.read_pt(tmp_path / name)
  torch.save({"a": _NotWeights()}, tmp_path / "code.pt")
  (tmp_path / "noise.pt").write_bytes(b"no checkpoint at all")
  for name in ("code.pt", "noise.pt"):
    with pytest.raises(errors.BadFileError, match="cannot be read"):
      read_pt.read_pt(tmp_path / name)


def test_names_that_are_no_texts_and_numbers_that_are_not_real(tmp_path):
  torch = pytest.importorskip("torch")
  for content, words in (
    ({0: torch.zeros(2)}, "entry 0 has no text"),
    ({"a": torch.zeros(2, dtype=torch.complex64)}, "complex64"),
  ):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(errors.BadFileError, match=words):
      read_pt.read_pt(tmp_path / "x.pt")
  torch.save({"a": torch.ones(2, dtype=torch.float8_e4m3fn)}, tmp_path / "x.pt")
  assert read_pt.read_pt(tmp_path / "x.pt")["a"].tolist() == [1, 1]


def test_a_file_that_declares_more_than_it_can_hold(tmp_path):
  """Compressed zeros, and one array under many names."""
  torch = pytest.importorskip("torch")
  torch.save({"a": torch.zeros(4_000_000)}, tmp_path / "long.pt")
  with (
    zipfile.ZipFile(tmp_path / "long.pt") as given,
    zipfile.ZipFile(tmp_path / "short.pt", "w", zipfile.ZIP_DEFLATED) as short,
  ):
    for name in given.namelist():
      short.writestr(name, given.read(name))
  half = torch.zeros(100_000, dtype=torch.half)
  torch.save({f"a{i}": half for i in range(100)}, tmp_path / "many.pt")
  for name in ("short.pt", "many.pt"):
    with pytest.raises(errors.BadFileError, match="bytes and declares"):
      read_pt.read_pt(tmp_path / name)


def test_without_torch_the_error_says_how_to_get_it(tmp_path, monkeypatch):
  path = tmp_path / "x.pt"
  path.write_bytes(b"")
  monkeypatch.setattr(read_pt.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.UserError, match="convert"):
    read_pt.read_pt(path)


def test_the_package_does_not_import_torch():
  code = "import sys, bicross_jax.models, bicross_jax.convert; sys.exit('torch' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_several_networks_beside_other_things(zipped, tmp_path):
  """As EPCDepth saves them: two state dicts, the optimiser's and metrics as NumPy's scalars."""
  torch = pytest.importorskip("torch")
  weight = torch.arange(4.0)
  content = {
    "epoch": 19,
    "abs_rel": np.float64(0.0925),
    "a1": np.float32(0.9),
    "optimizer": {"state": {0: {"step": 3, "exp_avg": weight}}, "param_groups": [{"lr": 1e-5}]},
    "lr_scheduler": {"last_epoch": 19},
    "encoder": {"conv1.weight": weight},
    "depth_decoder": {"conv1.weight": 2 * weight, "n": torch.tensor(3)},
  }
  path = tmp_path / "model18.pth.tar"
  torch.save(content, path, _use_new_zipfile_serialization=zipped)
  got = read_pt.read_pt(path)
  assert set(got) == {"encoder.conv1.weight", "depth_decoder.conv1.weight", "depth_decoder.n"}
  np.testing.assert_array_equal(got["depth_decoder.conv1.weight"], 2 * np.arange(4))
