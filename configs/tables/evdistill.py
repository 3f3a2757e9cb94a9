"""The table of EvDistill: `python scripts/table.py --table configs/evdistill.py:distillation`.

What a network of event images learns from a teacher of frames, between what the teacher itself makes of
event images and what labels of events would teach. All are tested on scenes that no training has seen.
"""

import pathlib

from bicross_jax.config import grammar, tables

_FILE = str(pathlib.Path(__file__).parent.parent / "evdistill.py")
COLUMNS = ("miou", "accuracy")
_SCENES = "data.scenes=1"  # the target's
_EVENTS = ("config.input.modality=events", "data.sensors=event_image,label")


def get_tables() -> dict[str, tables.Table]:
  """The tables that `scripts/table.py --table configs/evdistill.py:NAME` can make."""
  frames, images, free = "teacher on frames", "teacher on event images", "student, label-free"
  labels = "student with event labels"
  rows = {
    frames: tables.Row(_config("teacher"), (_SCENES,)),
    images: tables.Row(_config("teacher"), (_SCENES, *_EVENTS), frames),
    free: tables.Row(_config("student"), against=images),
    "student without BMR": tables.Row(_config("student,bmr.on=False"), against=free),
    labels: tables.Row(_config("student,regime=with_event_labels"), against=free),
    "supervised on events": tables.Row(_config("supervised"), against=labels),
  }
  title = "Distillation from frames to events on the synthetic world, domain clear"
  return {"distillation": tables.Table("distillation", title, rows, columns=COLUMNS)}


def _config(arg):
  return grammar.load(f"{_FILE}:{arg}")
