import json
import struct

import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import writers


def test_lines_and_cutting_back(tmp_path):
  file = tmp_path / "metrics.jsonl"
  lines = writers.JsonLines(file)
  lines.write(5, {"a": np.float32(0.5), "b": float("nan"), "c": np.arange(3)})
  keep = lines.size
  assert json.loads(file.read_text()) == {"step": 5, "a": 0.5, "b": None, "c": [0, 1, 2]}  # flushed
  lines.write(10, {"a": 1})
  lines.close()
  again = writers.JsonLines(file, keep)
  again.write(10, {"a": 2})
  again.close()
  assert [json.loads(r) for r in file.read_text().splitlines()][1:] == [{"step": 10, "a": 2}]
  writers.JsonLines(file, 10**6).close()  # a checkpoint that has seen more than is there
  assert len(file.read_text().splitlines()) == 2
  writers.JsonLines(file).close()
  assert file.read_text() == ""


def test_a_folder_in_the_place_of_the_lines_is_one_line(tmp_path):
  with pytest.raises(errors.UserError, match=f"^{tmp_path}: Is a directory$"):
    writers.JsonLines(tmp_path)


def test_tensorboard_file_by_its_format(tmp_path):
  """Records are length, CRC of it, event, CRC of it (TFRecord)."""
  pytest.importorskip("tensorboard")
  from tensorboard.compat.proto import event_pb2

  board = writers.TensorBoard(tmp_path)
  board.write(7, {"train/loss": np.float32(0.25), "confusion": np.eye(2), "n": 3})
  (file,) = tmp_path.glob("events.out.tfevents*")
  data, events = file.read_bytes(), []  # before it is closed: every write is flushed
  while data:
    (size,) = struct.unpack("<Q", data[:8])
    events.append(event_pb2.Event.FromString(data[12 : 12 + size]))
    data = data[16 + size :]
  board.close()
  assert events[0].file_version == "brain.Event:2" and len(events) == 3
  assert events[1].session_log.status == event_pb2.SessionLog.START
  assert events[2].step == 7 and events[2].wall_time > 1e9
  assert {v.tag: v.simple_value for v in events[2].summary.value} == {"train/loss": 0.25, "n": 3}


def test_tensorboard_reads_it_where_tensorflow_is_not(python, tmp_path):
  """TensorBoard's own reader, in a process that cannot import TensorFlow or PyTorch."""
  code = """
import sys
sys.modules["tensorflow"] = sys.modules["torch"] = None
from bicross_jax.train import loop, writers
for first, steps in ((0, (1, 2, 3, 4)), (3, (3,))):
  board = writers.TensorBoard(sys.argv[1], first)
  for step in steps: board.write(step, {"loss": step + 10 * first})
  board.close()
from tensorboard.backend.event_processing import event_accumulator
reader = event_accumulator.EventAccumulator(sys.argv[1])
reader.Reload()
print([(e.step, e.value) for e in reader.Scalars("loss")])
"""
  done = python("-c", code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == "[(1, 1.0), (2, 2.0), (3, 33.0)]"
