"""README and docs: links lead somewhere, commands are understood, nothing cites a page that is not there."""

import ast
import importlib
import pathlib
import re
import shlex

import numpy as np
import pytest

from bicross_jax import tasks
from bicross_jax.config import rules
from bicross_jax.recipes.bicross import rules as bicross_rules
from bicross_jax.recipes.domain_invariant import rules as domain_invariant_rules
from bicross_jax.recipes.epcdepth import rules as epcdepth_rules
from bicross_jax.recipes.evdistill import rules as evdistill_rules
from bicross_jax.recipes.stereospike import rules as stereospike_rules

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHIPPED = [
  file
  for folder in ("bicross_jax", "configs", "scripts", "docs", "tests")
  for file in sorted((ROOT / folder).rglob("*"))
  if file.suffix in (".py", ".md", ".toml", ".cfg", ".cff")
] + sorted(ROOT.glob("*.*"))
MODULES = [
  *sorted((ROOT / "bicross_jax" / "commands").glob("*.py")),
  *sorted((ROOT / "configs").glob("*.py")),
]
CODE = re.compile(r"^```.*?^```", re.S | re.M)


def _name(file):
  return str(file.relative_to(ROOT))


def _anchors(page):
  """What GitHub calls the headings of a page."""
  headings = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.M)
  return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def _commands():
  """(file, words) of every command with one of our scripts in pages and in the docstrings of modules."""
  for page in PAGES:
    text = page.read_text()
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M):
      for line in block.replace("\\\n", " ").splitlines():
        if "scripts/" in line:
          yield page, shlex.split(line, comments=True)
    for line in re.findall(r"`(python scripts/[^`]+)`", CODE.sub("", text)):
      yield page, shlex.split(line)
  for file in MODULES:
    text = (ast.get_docstring(ast.parse(file.read_text())) or "").replace("\\\n", " ")
    for line in re.findall(r"^ +(python scripts/.*)$", text, re.M):
      yield file, shlex.split(line, comments=True)


def test_readme_has_at_most_200_lines():
  assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_of_a_page_lead_somewhere(page):
  text = CODE.sub("", page.read_text())
  wrong = []
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    if re.match(r"[a-z]+:", target):
      continue
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists() or (anchor and anchor not in _anchors(file)):
      wrong.append(target)
  for path in re.findall(r"`((?:bicross_jax|configs|scripts|docs|tests)/[\w/.{},*-]+)`", text):
    for one in _alternatives(path):
      if not list(ROOT.glob(one.rstrip("/"))):
        wrong.append(path)
  assert not wrong


def _alternatives(path):
  """a/{b,c}.py -> a/b.py, a/c.py."""
  found = re.fullmatch(r"(.*)\{([^{}]*)\}(.*)", path)
  return [f"{found[1]}{one}{found[3]}" for one in found[2].split(",")] if found else [path]


def test_nothing_shipped_cites_a_page_that_is_not_there():
  wrong = []
  for file in SHIPPED:
    if file == pathlib.Path(__file__) or not file.is_file() or file.suffix == ".png":
      continue
    text = file.read_text()
    for path in re.findall(r"\bdocs/[\w/]+\.\w+", text):
      if not (ROOT / path).is_file():
        wrong.append(f"{_name(file)}: {path}")
    hidden = r"(?<!systems/)\b\w+\.md,? (?:section|\d)|\bDESIGN\b|\bshared/|\breference/\w+\.md"
    wrong += [f"{_name(file)}: {found}" for found in re.findall(hidden, text)]
  assert not wrong


def test_the_page_of_fields_has_every_field_and_no_other():
  text = (ROOT / "docs" / "config.md").read_text()
  words = set(re.findall(r"`([a-z_]+(?:\.(?:<\w+>|\w+))*)`", text))
  every = dict(rules.SHARED)
  for system in (
    bicross_rules,
    stereospike_rules,
    epcdepth_rules,
    evdistill_rules,
    domain_invariant_rules,
  ):
    every |= system.RULES
  lacking = []
  for name in every:
    section, _, rest = name.partition(".")
    said = {name, name.replace("evals.*", "evals.<name>").replace("parents.*", "parents.<role>")}
    if section == "gan":
      said |= {f"optim.{rest}"}  # the same fields, of other networks
    if section in ("data", "target", "truth"):
      said |= {rest, "parts.train" if rest == "parts.*" else rest}
    if not said & words:
      lacking.append(name)
  assert not lacking
  fields = {f for name in tasks.NAMES for f in tasks.create(name).protocol._fields}
  assert not fields - words
  dotted = {
    w
    for w in words
    if re.match(r"(input|model|rig|labels|loss|augment|optim|distill|adapt|front_end|train)\.", w)
  }
  assert not [w for w in dotted if w not in every]


FILES = (
  "FILE",
  "stream.dat",
  "long.dat",
  "video.mp4",
  "events.h5",
  "right.h5",
  "dpt_hybrid.pt",
  "model18.pth.tar",
  "ddd17_aps_ckpt.pth",
  "ddd17_event_ckpt.pth",
  "adv-efficientnet-b5-86493f6b.pth",
  "best_net_Task.pth",
  "resnet18-5c106cde.pth",
  "vit_base_r50_s16_384.safetensors",
)


def test_code_of_the_worked_example_is_code_that_tests_run():
  page = (ROOT / "docs" / "adding_a_system.md").read_text()
  pieces = re.findall(r"^<!-- (\S+) -->\n```python\n(.*?)^```", page, re.S | re.M)
  assert len(pieces) == page.count("```python")
  assert not [code for file, code in pieces if code not in (ROOT / file).read_text()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder in which everything lies that the pages' commands take."""
  folder = tmp_path_factory.mktemp("place")
  for name in ("configs", "tests"):
    (folder / name).symlink_to(ROOT / name)
  runs = {word for _, words in _commands() for word in words if word.startswith("runs/")}
  for name in ("RUN/checkpoints", "frames", "data", *(f"{run}/checkpoints" for run in runs)):
    (folder / name).mkdir(parents=True)
  for name in FILES:
    (folder / name).write_bytes(b"x")
  np.save(folder / "disparities.npy", np.ones((1, 2, 3), np.float32))
  return folder


@pytest.mark.parametrize(
  "page, words", [pytest.param(p, w, id=f"{_name(p)}: {' '.join(w)[:90]}") for p, w in _commands()]
)
def test_a_command_is_understood(page, words, place, monkeypatch):
  """As far as its script goes before anything heavy: flags, configs, what must be there."""
  monkeypatch.chdir(place)
  words = words[next(i for i, word in enumerate(words) if word.startswith("scripts/")) :]
  script = (ROOT / words[0]).read_text()
  if words[0] == "scripts/export.py":
    pytest.importorskip("onnx")
  command = re.search(r"from (bicross_jax\.commands\.\w+) import main", script)[1]
  parse = importlib.import_module(command).parse
  parse([re.sub("(^|=)/data/[a-z_]+", rf"\1{place}/data", word) for word in words[1:]])
