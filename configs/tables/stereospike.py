"""The tables of StereoSpike: `python scripts/table.py --table configs/stereospike.py:NAME`.

networks: the stages side by side, on the same scenes. ablation: what parts of the network are worth.
labels: the spaces that a network can learn.
"""

import pathlib

from bicross_jax.config import grammar, tables

_FOLDER = pathlib.Path(__file__).parent.parent
COLUMNS = ("mde", "abs_rel", "d1")


def get_tables() -> dict[str, tables.Table]:
  """The tables that `scripts/table.py --table configs/stereospike.py:NAME` can make."""
  made = (_networks(), _ablation(), _labels())
  return {table.name: table._replace(columns=COLUMNS) for table in made}


def _networks() -> tables.Table:
  """One camera or two, spikes or none, events or a spike camera; and BiCross's DPT on spikes."""
  own = _config("binocular")
  scenes = ",".join(f"data.{part}={own.data[part]}" for part in ("train", "validation", "test"))
  dpt = f"pretrain,input.modality=spike,{scenes},train.steps={_config('spikecam').train.steps}"
  rows = {
    "monocular events": tables.Row(_config("monocular")),
    "binocular events": tables.Row(own, against="monocular events"),
    "binocular events, ANN": tables.Row(_config("ann"), against="binocular events"),
    "spike camera, PLIF": tables.Row(_config("spikecam")),
    "spike camera, DPT tiny": tables.Row(_config(dpt, "bicross"), against="spike camera, PLIF"),
  }
  return tables.Table("networks", "StereoSpike on the synthetic world, domain clear", rows)


def _ablation() -> tables.Table:
  """The paper's ablations: fewer heads, no skips; other neurons, parts of the loss, augmentation."""
  whole = "binocular events"
  rows = {whole: tables.Row(_config("binocular"))}
  rows["PLIF neurons"] = tables.Row(_config("historical"), against=whole)
  for words, change in (
    ("heads 1, 2, 3", "model.heads=1,2,3"),
    ("head 1", "model.heads=1"),
    ("without skips", "model.skips=false"),
    ("without absolute error", "loss.absolute=0"),
    ("with the spike penalty", "loss.activity=0.5"),
    ("with all augmentations", "augment.vertical=0.5,augment.reverse_time=0.5,augment.drop=0.5"),
  ):
    rows[words] = tables.Row(_config(f"binocular,{change}"), against=whole)
  return tables.Table("ablation", "Parts of StereoSpike on the synthetic world", rows)


def _labels() -> tables.Table:
  """Metres, their logarithm, disparity."""
  rows = {
    name: tables.Row(_config(f"binocular,labels.name={name}")) for name in ("lin", "log", "disp")
  }
  return tables.Table("labels", "What StereoSpike learns, on the synthetic world", rows)


def _config(arg, system="stereospike"):
  return grammar.load(f"{_FOLDER / system}.py:{arg}")
