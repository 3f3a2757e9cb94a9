"""NIR files: what is written comes back; bad ones are told of in one line."""

import h5py
import numpy as np
import pytest

nir = pytest.importorskip("nir")

from bicross_jax import errors  # noqa: E402
from bicross_jax import nir as ours  # noqa: E402
from bicross_jax.nir import files  # noqa: E402
from tests.nir import graphs  # noqa: E402

MUTATED = 250


def _good(path):
  size = (4, 3)
  nodes = {
    "conv": graphs.conv2d(
      graphs.array(2, 2, 3, 3, seed=1), graphs.array(2, seed=2), size, padding=(1, 1)
    ),
    "lif": graphs.lif((2, *size)),
    "flatten": nir.Flatten({"input": np.array([2, *size])}, 0, -1),
    "linear": nir.Linear(graphs.array(3, 24)),
  }
  names = ["in", *nodes, "out"]
  graph = graphs.ports(nodes, list(zip(names[:-1], names[1:])), (2, *size), (3,), dt=0.5)
  told = ours.write(path, graph, {"left_out": {}})
  assert told == path.with_suffix(".json") and told.is_file()
  return path


def test_files_of_the_package_and_ours_hold_the_same(tmp_path):
  path = _good(tmp_path / "new" / "net.nir")
  nir.write(tmp_path / "theirs.nir", nir.read(path))
  first, second = ours.load(path), ours.load(tmp_path / "theirs.nir")
  x = graphs.array(3, 1, 2, 4, 3)
  run = lambda network: network.apply(network.params, network.initial(1), x)[0]["out"]
  np.testing.assert_array_equal(run(first), run(second))
  assert first.inputs == {"in": (2, 4, 3)} and first.outputs == {"out": (3,)}


def _refused(path, words):
  with pytest.raises(errors.BadFileError, match=words) as raised:
    ours.load(path)
  assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_what_is_no_nir_file_is_told_in_one_line(tmp_path):
  path = tmp_path / "net.nir"
  _refused(path, "no such file")
  path.write_bytes(b"not HDF5")
  _refused(path, "no NIR file")
  with h5py.File(path, "w") as file:
    file["other"] = 1
  _refused(path, "no NIR file")
  nir.write(path, nir.Scale(np.ones(3)))
  _refused(path, "a single Scale node")
  nir.write(path, graphs.chain(nir.CubaLIF(*[np.ones(3)] * 5), (3,), (3,)))
  _refused(path, "not known here: CubaLIF")
  nir.write(path, graphs.chain(graphs.lif((3,)), (3,), (3,)))
  _refused(path, "how long a time step is")
  with h5py.File(_good(path), "r+") as file:  # 8 TB that no byte stands for
    file["node/nodes/linear"].create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=(64, 64))
  _refused(path, "arrays of 8796")


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path):
  whole = np.frombuffer(_good(tmp_path / "net.nir").read_bytes(), np.uint8)
  rng, path = np.random.default_rng(0), tmp_path / "bad.nir"
  full = np.flatnonzero(whole)  # most of a small HDF5 file is empty
  refused = 0
  for k in range(MUTATED):
    data = whole.copy()
    if k % 5 == 0:
      data = data[: rng.integers(len(data))]
    else:
      data[rng.choice(full, rng.integers(1, 8))] = rng.integers(0, 256)
    path.write_bytes(data.tobytes())
    try:
      ours.load(path)
    except errors.BadFileError as error:
      assert "\n" not in str(error)
      refused += 1
  assert MUTATED / 5 <= refused < MUTATED


def test_without_the_package_nir_the_error_says_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
  for call in (lambda: ours.load(tmp_path), lambda: ours.write(tmp_path / "x.nir", None, {})):
    with pytest.raises(errors.UserError, match=r"bicross_jax\[nir\]"):
      call()
