"""Files of weights: what goes out comes in again exactly, and what is damaged is told."""

import numpy as np
import pytest

from bicross_jax import convert, errors
from bicross_jax.convert import files


def _same(have, want):
  assert have.keys() == want.keys()
  for name in want:
    np.testing.assert_array_equal(have[name], want[name])
    assert have[name].dtype == want[name].dtype


def test_out_and_in_again_is_exact(tmp_path, published):
  pytest.importorskip("safetensors")
  path = tmp_path / "new" / "model.safetensors"
  files.write_safetensors(path, published, {"model": "{}"})
  _same(files.read(path), published)
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_pytorch_reads_what_goes_out(tmp_path, published):
  torch = pytest.importorskip("safetensors.torch", exc_type=ImportError)
  path = tmp_path / "model.safetensors"
  files.write_safetensors(path, published, {})
  _same({k: v.numpy() for k, v in torch.load_file(path).items()}, published)


def test_half_floats_become_float32(tmp_path):
  safetensors = pytest.importorskip("safetensors.numpy", exc_type=ImportError)
  import ml_dtypes  # of JAX

  values = np.arange(4, dtype=np.float32)
  path = tmp_path / "half.safetensors"
  safetensors.save_file(
    {"a": values.astype(np.float16), "b": values.astype(ml_dtypes.bfloat16), "n": np.arange(3)},
    path,
  )
  _same(files.read(path), {"a": values, "b": values, "n": np.arange(3)})


def test_npz_with_slashes_in_its_names(tmp_path):
  arrays = {"Transformer/encoder_norm/scale": np.ones(3, np.float32), "cls": np.zeros((1, 1, 3))}
  np.savez(tmp_path / "vit.npz", **arrays)
  _same(files.read(tmp_path / "vit.npz"), arrays)


def test_bad_files_are_told(tmp_path):
  def refused(name, data, match):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(errors.BadFileError, match=match):
      files.read(tmp_path / name)

  np.savez(tmp_path / "good.npz", a=np.arange(100.0))
  whole = (tmp_path / "good.npz").read_bytes()
  with pytest.raises(errors.BadFileError, match="no such file"):
    files.read(tmp_path / "absent.npz")
  with pytest.raises(errors.BadFileError, match="is a folder"):
    files.read(tmp_path)
  refused(
    "a.onnx", b"1", r"no known kind of weights \(expected .pt, .pth, .bin, .safetensors, .npz\)"
  )
  refused("b.npz", b"", "whole .npz")
  refused("c.npz", whole[:300], "whole .npz")
  refused("d.npz", whole[:200] + b"\xff" + whole[201:], "whole .npz")
  np.savez(tmp_path / "objects.npz", a=np.array([{}]))
  with pytest.raises(errors.BadFileError, match="plain numbers"):
    files.read(tmp_path / "objects.npz")
  np.savez(tmp_path / "empty.npz")
  with pytest.raises(errors.BadFileError, match="holds no arrays"):
    files.read(tmp_path / "empty.npz")


def test_bad_safetensors_are_told(tmp_path, published):
  safetensors = pytest.importorskip("safetensors.numpy", exc_type=ImportError)
  whole = safetensors.save({"a": np.arange(100.0)})
  path = tmp_path / "x.safetensors"
  for data in (b"", whole[:4], whole[:-1], b"\xff" * 8 + whole[8:], whole[:8] + b"[" + whole[9:]):
    path.write_bytes(data)
    with pytest.raises(errors.BadFileError, match="cannot be read"):
      files.read(path)
  path.write_bytes(safetensors.save({}))
  with pytest.raises(errors.BadFileError, match="holds no arrays"):
    files.read(path)


def test_every_file_may_hold_every_naming(tmp_path, tiny, published):
  np.savez(tmp_path / "dpt.npz", **published)
  got = convert.from_torch("dpt", files.read(tmp_path / "dpt.npz"), backbone="tiny")
  np.testing.assert_array_equal(got["params"]["skip1"]["kernel"], tiny["params"]["skip1"]["kernel"])
