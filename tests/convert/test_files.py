"""Files of weights: what goes out comes in again exactly, and what is damaged is told."""

import json

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


def test_floats_of_eight_bits_become_float32_and_other_types_are_told(tmp_path):
  path = tmp_path / "x.safetensors"

  def write(kind, *values):
    header = json.dumps(
      {"a": {"dtype": kind, "shape": [len(values)], "data_offsets": [0, len(values)]}}
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(values))

  write("F8_E4M3", 0b0_0111_000, 0b1_1000_100)  # bias 7: 1, -2 * 1.5
  assert files.read(path)["a"].tolist() == [1.0, -3.0]
  write("F8_E5M2", 0b0_01111_00, 0b0_10000_11)  # bias 15: 1, 2 * 1.75
  assert files.read(path)["a"].tolist() == [1.0, 3.5]
  write("F8_E8M0", 1, 2)
  with pytest.raises(errors.BadFileError, match="type F8_E8M0"):
    files.read(path)


def test_an_npz_that_declares_more_than_it_can_hold(tmp_path):
  np.savez_compressed(tmp_path / "x.npz", a=np.zeros(4_000_000, np.float32))
  with pytest.raises(errors.BadFileError, match="bytes and declares 16000"):
    files.read(tmp_path / "x.npz")


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
    "a.onnx",
    b"1",
    r"no known kind of weights \(expected .pt, .pth, .bin, .tar, .safetensors, .npz\)",
  )
  refused("b.npz", b"", "whole .npz")
  refused("c.npz", whole[:300], "whole .npz")
  refused("d.npz", whole[:200] + b"\xff" + whole[201:], "Bad CRC")
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


def test_every_file_may_hold_every_naming(tmp_path, nano, published):
  np.savez(tmp_path / "dpt.npz", **published)
  got = convert.from_torch("dpt", files.read(tmp_path / "dpt.npz"), backbone="nano")
  np.testing.assert_array_equal(got["params"]["skip1"]["kernel"], nano["params"]["skip1"]["kernel"])
