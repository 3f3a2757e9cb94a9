"""Event files of every kind, written without the package's own writers."""

import pathlib

import numpy as np
import pytest

from bicross_jax.data.formats.events import Events

SIZE = (30, 40)
T0 = 1_506_117_860_123_456  # microseconds: a Unix time, as MVSEC's


def stream(count: int, seed: int = 0, size=SIZE, t0: int = T0, length: int = 30_000) -> Events:
  """Random events in the order of time, some of them at the same time."""
  rng = np.random.default_rng(seed)
  t = np.sort(rng.integers(0, length, count)) + t0
  x, y = rng.integers(0, size[1], count), rng.integers(0, size[0], count)
  return Events(x.astype(np.uint16), y.astype(np.uint16), t, rng.random(count) < 0.5)


def equal(found: Events, wanted: Events) -> None:
  """Fails where events differ, or have other types than promised."""
  for name, kind in (("x", np.uint16), ("y", np.uint16), ("t", np.int64), ("p", np.bool_)):
    column = getattr(found, name)
    assert column.dtype == kind
    np.testing.assert_array_equal(column, getattr(wanted, name))


def rows(events: Events, *, low: float = -1.0) -> np.ndarray:
  """float64[N, 4]: x, y, t in seconds, polarity 1 or `low`."""
  return np.stack([events.x, events.y, events.t / 1e6, np.where(events.p, 1.0, low)], axis=1)


def write_mvsec(path: pathlib.Path, events: Events, right: Events | None = None, **options) -> None:
  """MVSEC's hdf5; the right camera has the same events where none are given."""
  import h5py

  with h5py.File(path, "w") as file:
    file["davis/left/events"] = rows(events)
    file.create_dataset("davis/right/events", data=rows(right or events), **options)


def write_dsec(path: pathlib.Path, events: Events, offset: int | None = None, **options) -> None:
  """DSEC's hdf5, packed with Blosc where `options` say nothing else."""
  import h5py
  import hdf5plugin

  if offset is None:
    offset = int(events.t[0]) - 1234 if len(events.t) else 0
  t = events.t - offset
  options = options or {**hdf5plugin.Blosc(cname="zstd"), "maxshape": (None,), "chunks": (64,)}
  kinds = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
  with h5py.File(path, "w") as file:
    for (name, kind), values in zip(kinds.items(), (events.x, events.y, t, events.p), strict=True):
      file.create_dataset(f"events/{name}", data=values.astype(kind), **options)
    milliseconds = int(t[-1]) // 1000 + 1 if len(t) else 0
    first = [int((t < 1000 * m).sum()) for m in range(milliseconds)]
    file["ms_to_idx"] = np.array(first, np.uint64)
    file["t_offset"] = np.int64(offset)


def write_text(path: pathlib.Path, events: Events, head: str = "") -> None:
  """Lines of t in seconds with all digits, x, y, p."""
  lines = (
    f"{t // 10**6}.{t % 10**6:06d} {x} {y} {int(p)}\n"
    for x, y, t, p in zip(*(column.tolist() for column in events), strict=True)
  )
  path.write_text(head + "".join(lines))


def write_npz(path: pathlib.Path, events: Events) -> None:
  """Whole microseconds, polarity 0 and 1."""
  np.savez(path, x=events.x, y=events.y, t=events.t, p=events.p.astype(np.uint8))


def write_npy(path: pathlib.Path, events: Events) -> None:
  """DENSE's columns: t in seconds, x, y, p."""
  np.save(path, rows(events)[:, [2, 0, 1, 3]])


def write_aedat4(path: pathlib.Path, events: Events, size=SIZE, **options) -> None:
  """iniVation's format, by package faery."""
  faery = pytest.importorskip("faery")
  table = np.zeros(len(events.t), faery.EVENTS_DTYPE)
  table["t"], table["x"], table["y"], table["on"] = events.t, events.x, events.y, events.p
  faery.events_stream_from_array(table, dimensions=size[::-1]).to_file(path, **options)


KINDS = {
  "mvsec": ("a.hdf5", write_mvsec),
  "dsec": ("a.h5", write_dsec),
  "text": ("a.txt", write_text),
  "npz": ("a.npz", write_npz),
  "npy": ("a.npy", write_npy),
  "aedat4": ("a.aedat4", write_aedat4),
}


def write(folder: pathlib.Path, kind: str, events: Events, size=SIZE) -> pathlib.Path:
  """Writes a file of a kind and returns its path."""
  name, writer = KINDS[kind]
  writer(folder / name, events, **({"size": size} if kind == "aedat4" else {}))
  return folder / name
