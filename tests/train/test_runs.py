import errno
import fcntl
import json
import os

import ml_collections
import pytest

from bicross_jax import errors, files
from bicross_jax.train import runs

RESULT = {
  "metric": "e",
  "mode": "min",
  "before": {"e": 1.0},
  "after": {"e": None, "other": 2},
  "best": {"step": 3, "value": 0.5},
  "steps": 5,
  "seconds": {"train": 1.5},
}


def config(**fields):
  return ml_collections.ConfigDict({"seed": 0, "train": {"steps": 5}, "sizes": (1, 2), **fields})


def test_hash_depends_on_values_alone():
  a = runs.config_hash(config())
  assert a == runs.config_hash({"train": {"steps": 5}, "sizes": [1, 2], "seed": 0})
  assert len(a) == 16 and a == runs.config_hash(json.loads(json.dumps(runs.plain(config()))))
  assert a != runs.config_hash(config(seed=1))


def test_places_do_not_name_a_run():
  section = {"name": "kitti", "data_dir": "/a"}
  there = {"data": section, "target": section, "file": "/a/configs/x.py", "report": ("p", "q")}
  moved = {**section, "data_dir": "/mnt/b"}
  here = {"data": moved, "target": moved, "file": "x.py", "distributed": {"process": 1}}
  assert runs.config_hash(there) == runs.config_hash(here) and not runs.differences(there, here)
  assert runs.plain(there)["data"]["data_dir"] == "/a"  # evaluation wants to know
  other = {**here, "target": {**moved, "name": "vkitti"}}
  assert runs.differences(there, other) == ['target.name: "kitti" there, "vkitti" here']


def test_references_are_resolved():
  c = config()
  c.parent = ml_collections.ConfigDict({"seed": c.get_ref("seed")})
  c.seed = 4
  assert runs.plain(c)["parent"] == {"seed": 4}


def test_unwritable_configs_are_refused():
  for value in (object(), float("inf")):
    with pytest.raises(errors.UserError, match="cannot be written as JSON"):
      runs.plain(config(x=value))


def test_claim(tmp_path):
  workdir = tmp_path / "a" / "b"
  assert runs.stored(workdir, config()) is None and not workdir.exists()
  assert runs.claim(workdir, config()) is None
  assert json.loads((workdir / "config.json").read_text())["sizes"] == [1, 2]
  assert runs.claim(workdir, config()) is None
  with pytest.raises(errors.UserError) as refused:
    runs.claim(workdir, config(seed=1, extra={"x": "y"}))
  assert 'extra.x: nothing there, "y" here; seed: 0 there, 1 here' in str(refused.value)
  files.write_json(workdir / "result.json", RESULT)
  assert runs.claim(workdir, config()) == RESULT
  assert runs.finished(workdir) and runs.finished(tmp_path) is None
  assert sorted(p.name for p in workdir.iterdir()) == ["config.json", "result.json"]


def test_one_process_trains_in_a_folder(tmp_path):
  with runs.locked(tmp_path):
    with pytest.raises(errors.UserError, match=f"another process is training in {tmp_path}"):
      with runs.locked(tmp_path):
        pass
  with runs.locked(tmp_path):
    assert not any(tmp_path.iterdir())


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
  def refuse(*unused):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(fcntl, "flock", refuse)
  with runs.locked(tmp_path):
    pass
  assert f"{tmp_path} cannot be locked (Function not implemented)" in capsys.readouterr().out


def test_claim_refuses_what_it_does_not_know(tmp_path):
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(errors.UserError, match="parts of a run but no config.json"):
    runs.claim(tmp_path, config())
  file = tmp_path / "file"
  file.write_text("")
  with pytest.raises(errors.UserError, match="is a file"):
    runs.claim(file, config())
  other = tmp_path / "other"
  other.mkdir()
  (other / "config.json").write_text("{")
  with pytest.raises(errors.BadFileError, match="is not JSON"):
    runs.claim(other, config())


@pytest.mark.parametrize(
  "value",
  [
    None,
    3,
    [],
    "done",
    {},
    {**RESULT, "metric": 1},
    {**RESULT, "metric": "absent"},
    {**RESULT, "after": None},
    {**RESULT, "before": {"e": "low"}},
    {**RESULT, "best": [3, 0.5]},
    {**RESULT, "best": {"step": 3}},
    {**RESULT, "seconds": 4},
    {**RESULT, "steps": "5"},
  ],
  ids=str,
)
def test_a_result_of_another_form_is_refused(tmp_path, value):
  runs.claim(tmp_path, config())
  files.write_json(tmp_path / "result.json", value)
  with pytest.raises(errors.BadFileError, match="result.json: is not the result of a run"):
    runs.claim(tmp_path, config())


def test_files_that_are_folders_and_configs_that_are_none(tmp_path):
  runs.claim(tmp_path, config())
  (tmp_path / "result.json").mkdir()
  with pytest.raises(errors.BadFileError, match="result.json: is a folder"):
    runs.claim(tmp_path, config())
  for text, words in (
    ("[1]", "is not a config"),
    ("null", "is not a config"),
    ("[" * 10_000, "is not JSON"),
  ):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(errors.BadFileError, match=f"config.json: {words}"):
      runs.claim(tmp_path, config())


def test_versions():
  found = runs.versions()
  assert {"bicross_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint"} <= set(found)
