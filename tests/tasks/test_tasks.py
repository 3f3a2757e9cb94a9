"""Every task keeps the contract, and is there without the heavy packages."""

import subprocess
import sys

import numpy as np
import pytest

from bicross_jax import errors, tasks

HEAVY = ("jax", "tensorflow", "matplotlib", "orbax", "flax", "torch")


def test_no_task_imports_anything_heavy():
  code = f"""
import sys
from bicross_jax import tasks
for name in tasks.NAMES:
  tasks.create(name)
print([name for name in {HEAVY} if name in sys.modules])
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", tasks.NAMES)
def test_a_task_has_what_the_contract_says(name):
  task = tasks.create(name)
  assert task.name == name
  task.check(task.protocol())
  assert all(isinstance(p, task.protocol) for p in task.protocols.values())
  assert set(task.columns.values()) <= {"min", "max"} and set(task.titles) <= set(task.columns)
  truth = {"key": "a", "crop": (0, 0, 4, 6)}
  truth |= {
    field: np.ones((4, 6), np.float32 if field == "depth" else np.uint8) for field in task.truth
  }
  for baseline in task.baselines([truth], task.protocol()).values():
    predictions, carry = baseline({"mask": np.array([True])}, ())
    maps = {key: x[0] for key, x in predictions.items()}
    assert carry == () and set(maps) & set(task.judged)
    row = task.judge(maps, truth, task.protocol())
    summary = task.summarise([row])
    assert row["pixels"] > 0 and next(iter(task.columns)) in summary
    assert all(x.shape[:2] == (8, 9) for x in task.fit(maps, (8, 9)).values())


def test_an_unknown_task_is_named():
  with pytest.raises(errors.UserError, match="config.task='flow': choose from classes, depth"):
    tasks.create("flow")
