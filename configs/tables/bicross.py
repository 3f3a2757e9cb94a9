"""The tables of BiCross: `python scripts/table.py --table configs/bicross.py:NAME`.

cfkd: what distillation is worth. gap: how far the world's domains lie apart. crossdomain: BiCross's
claim. ablation: what its parts are worth.
"""

import pathlib

from bicross_jax.config import grammar, tables

_FILE = str(pathlib.Path(__file__).parent.parent / "bicross.py")
COLUMNS = ("abs_rel", "rmse", "d1")


def get_tables() -> dict[str, tables.Table]:
  """The tables that `scripts/table.py --table configs/bicross.py:NAME` can make."""
  made = (_cfkd_table(), _gap_table(), _crossdomain_table(), _ablation_table())
  return {table.name: table._replace(columns=COLUMNS) for table in made}


def _cfkd_table() -> tables.Table:
  """What distillation is worth: scratch, RGB initialisation, CFKD; all labels and 100."""
  own, parent = _config("crossmodality").train, _config("pretrain").train
  both = int(own.steps) + int(parent.steps)
  rows = {}
  for labels, words in (("", "all labels"), (",data.labelled=100", "100 labels")):
    scratch = f"from scratch, {words}"
    few = labels.replace("labelled", "limit")  # those rows learn from nothing but labels
    rows[scratch] = tables.Row(_config(f"pretrain,input.modality=spike,train.steps={both}{few}"))
    rows[f"RGB-initialised, {words}"] = tables.Row(
      _config(f"crossmodality,distill.coarse=0,distill.fine=0{few}"), against=scratch
    )
    half = labels and ",data.oversample_labelled=true"
    rows[f"CFKD, {words}"] = tables.Row(
      _config(f"crossmodality{labels}{half}"), against=f"RGB-initialised, {words}"
    )
  return tables.Table(
    "cfkd", "Cross-modality distillation on the synthetic world, domain clear", rows
  )


def _gap_table() -> tables.Table:
  """The domain gap: spike networks trained on `clear` and tested elsewhere, over those at home."""
  rows = {}
  for domain in ("clear", "foggy", "rainy", "night", "other_town"):
    spike = "pretrain,input.modality=spike"
    rows[f"clear -> {domain}"] = tables.Row(_config(spike), test=(f"data.domain={domain}",))
    if domain != "clear":
      rows[f"{domain} -> {domain}"] = tables.Row(
        _config(f"{spike},data.domain={domain}"), against=f"clear -> {domain}"
      )
  return tables.Table("gap", "Domain gap of the synthetic world", rows)


def _crossdomain_table() -> tables.Table:
  """BiCross's claim: source only > MonoCross > BiCross in error on the target, for two weathers.

  `source only` and `supervised` are spike networks from scratch, on the source and on the target,
  with the steps of stage `pretrain`, which are also those of MonoCross on spikes. Two further rows
  have as many steps as both stages behind MonoCross.
  """
  both = int(_config("crossmodality").train.steps) + int(_config("pretrain").train.steps)
  scratch, long, rows = "pretrain,input.modality=spike", f"train.steps={both}", {}
  for target in ("foggy", "rainy"):
    there, home = (f"data.domain={target}",), f"{scratch},data.domain={target}"
    label = lambda method, target=target: f"{method}, clear -> {target}"
    rows[label("source only")] = tables.Row(_config(scratch), there)
    rows[label("MonoCross")] = tables.Row(_config("crossmodality"), there, label("source only"))
    rows[label("BiCross")] = tables.Row(
      _config(f"crossdomain,target.domain={target}"), against=label("MonoCross")
    )
    rows[label("supervised")] = tables.Row(_config(home), against=label("BiCross"))
    rows[label(f"source only {both} steps")] = tables.Row(
      _config(f"{scratch},{long}"), there, label("MonoCross")
    )
    rows[label(f"supervised {both} steps")] = tables.Row(
      _config(f"{home},{long}"), against=label("BiCross")
    )
  return tables.Table("crossdomain", "Cross-domain BiCross on the synthetic world", rows)


def _ablation_table() -> tables.Table:
  """What the parts of CFKD and of SCTS are worth: each left out or changed, tested on foggy."""
  foggy, whole = ("data.domain=foggy",), "BiCross (SCTS)"
  rows = {"CFKD": tables.Row(_config("crossmodality"), foggy)}
  for words, change in (
    ("without coarse", "distill.coarse=0"),
    ("without fine", "distill.fine=0"),
    ("with filter", "distill.uncertainty_filter=true"),
    ("without augmented RGB", "parents.teacher.photometric=0"),
  ):
    rows[f"CFKD {words}"] = tables.Row(_config(f"crossmodality,{change}"), foggy, "CFKD")
  rows[whole] = tables.Row(_config("crossdomain"), against="CFKD")
  for words, change in (
    ("without SCP", "adapt.scp=0"),
    ("without SCA", "adapt.sca=0"),
    ("without matched rates", "adapt.match=false"),
    ("without mirror image", "adapt.mirror=false"),
    ("filter none", "adapt.filter=none"),
    ("filter disagreement", "adapt.filter=disagreement"),
    ("filter variance", "adapt.filter=variance"),
    ("strong augmentation", "adapt.augment=true"),
    ("published meanteacher", "adapt.method=meanteacher,adapt.match=false,adapt.mirror=false"),
    ("published adversarial", "adapt.method=adversarial,adapt.heads=legacy,adapt.reverse=0.01"),
  ):
    rows[f"SCTS, {words}"] = tables.Row(_config(f"crossdomain,{change}"), against=whole)
  return tables.Table("ablation", "Parts of CFKD and SCTS, clear -> foggy", rows)


def _config(arg):
  return grammar.load(f"{_FILE}:{arg}")
