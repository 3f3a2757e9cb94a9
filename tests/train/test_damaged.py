"""Damaged checkpoints: one line each, which says what is wrong and where."""

import json
import os
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import tensorstore

from bicross_jax import errors
from bicross_jax.train import checkpoints, metadata, record, saving
from bicross_jax.train.state import TrainState

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
META = {
  "step": 3,
  "which": "student",
  "metric": {"name": "e", "mode": "min", "value": 0.5},
  "metrics": {"e": 0.5},
  "config": {"system": "toy", "train": {"steps": "3"}},
  "versions": {"jax": "1"},
  "examples": 8,
}


def state():
  return TrainState(
    step=np.int32(3),
    params={"enc": {"kernel": KERNEL}, "b": np.float32(1)},
    batch_stats={},
    opt_state=({"mu": np.ones(3, np.float32)}, ()),
    frozen={"w": np.array([np.inf], ml_dtypes.bfloat16)},
  )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The folder of one whole checkpoint."""
  run = tmp_path_factory.mktemp("run")
  stats = {"enc": {"mean": np.zeros(3, np.float32), "count": np.int32(4)}}
  with checkpoints.Checkpoints(run) as store:
    store.save(3, state(), {"params": state().params, "batch_stats": stats}, META, 3)
  return run


@pytest.fixture
def run(whole, tmp_path):
  """A copy of it, to be damaged."""
  shutil.copytree(whole, tmp_path / "run")
  return tmp_path / "run"


def store(item):
  return {"driver": "ocdbt", "base": {"driver": "file", "path": f"{item}/"}}


def put(item, name, value):
  """Writes another array in the place of one."""
  kv = {**store(item), "path": f"{name}/"}
  array = tensorstore.open(
    {"driver": "zarr", "kvstore": kv, "metadata": {"compressor": None}},
    create=True,
    delete_existing=True,
    dtype=tensorstore.dtype(value.dtype),
    shape=value.shape,
  ).result()
  array.write(value).result()


def drop(item, key):
  """Removes one key of the store that holds the arrays."""
  tensorstore.KvStore.open(store(item)).result().write(key, None).result()


def edit(item, key, change):
  """Changes the JSON of one key of it."""
  kv = tensorstore.KvStore.open(store(item)).result()
  kv.write(key, json.dumps(change(json.loads(kv.read(key).result().value)))).result()


def restored(run):
  with checkpoints.Checkpoints(run) as opened:
    return opened.restore(3, state())


def test_the_whole_one_is_read(whole):
  variables, meta = checkpoints.restore_variables(checkpoints.find(whole))
  np.testing.assert_array_equal(variables["params"]["enc"]["kernel"], KERNEL)
  assert variables["batch_stats"]["enc"]["count"].dtype == np.int32 and meta["config"]
  jax.tree.map(np.testing.assert_array_equal, restored(whole), state())


@pytest.mark.parametrize("name", ["run a", "run#1", "what?", "a%20b", "ünï"])
def test_a_run_opens_and_goes_on_whatever_its_folder_is_called(tmp_path, name):
  for step in (3, 4):
    with checkpoints.Checkpoints(tmp_path / name) as opened:
      if step == 4:
        jax.tree.map(np.testing.assert_array_equal, opened.restore(3, state()), state())
      variables = {"params": {"w": np.full(2, step, np.float32)}, "batch_stats": {}}
      opened.save(step, state().replace(step=np.int32(step)), variables, META, step)
  folder = checkpoints.find(tmp_path / name, "last")
  variables, _ = checkpoints.restore_variables(folder)
  np.testing.assert_array_equal(variables["params"]["w"], [4, 4])
  assert variables["batch_stats"] == {}
  part = checkpoints.restore_part(folder, ("params", "enc"))
  np.testing.assert_array_equal(part["kernel"], KERNEL)
  assert sorted(p.name for p in tmp_path.iterdir()) == [name]  # and nothing lies elsewhere


DEEP = "[" * 10_000 + "]" * 10_000
NESTED = json.loads('{"a":' * 60 + "1" + "}" * 60)


@pytest.mark.parametrize(
  "text, words",
  [
    ("null", "meta is no object"),
    ("3", "meta is no object"),
    ("[]", "meta is no object"),
    ('"best"', "meta is no object"),
    ("{}", "meta has no step, which, metric, metrics, config"),
    ("", "is not JSON"),
    ('{"step": 3', "is not JSON"),
    (DEEP, "is not JSON"),
    (f'{{"config": {DEEP}}}', "is not JSON"),
    (b"\xff\xfe\x00", "is not JSON"),
  ],
  ids=lambda x: str(x)[:20],
)
def test_meta_that_is_something_else(run, text, words):
  file = run / "checkpoints/3/meta/metadata"
  file.write_bytes(text if isinstance(text, bytes) else text.encode())
  for read in (checkpoints.find, lambda _: checkpoints.restore_variables(file.parent.parent)):
    with pytest.raises(errors.BadFileError, match=words) as error:
      read(run)
    assert "\n" not in str(error.value) and "checkpoints/3" in str(error.value)


CAMERA = {"metric": True, "focal": 0.6, "baseline": 0.5, "whole": False, "width": 160}


@pytest.mark.parametrize("camera", [None, CAMERA, {**CAMERA, "whole": True, "width": 0}])
def test_a_camera_in_the_meta(run, camera):
  folder = run / "checkpoints/3"
  (folder / "meta/metadata").write_text(json.dumps({**META, "camera": camera}))
  assert metadata.read(folder)["camera"] == camera


@pytest.mark.parametrize(
  "field, value",
  [
    *(("step", x) for x in (None, "3", 3.5, -1, True, [3])),
    *(("which", x) for x in (None, 1, ["student"])),
    *(("metric", x) for x in (None, "e", [], {}, {"name": "e"})),
    ("metric", {"name": "e", "mode": "best", "value": 1}),
    ("metric", {"name": 3, "mode": "min", "value": 1}),
    ("metric", {"name": "e", "mode": "min", "value": "low"}),
    ("metric", {"name": "e", "mode": ["min"], "value": 1}),
    *(("metrics", x) for x in (None, 1, [0.5], {"e": "x"}, {"e": {}})),
    *(("config", x) for x in (None, 1, "c", [], NESTED, {"a": NESTED})),
    *(("versions", x) for x in (None, [], {"jax": 1})),
    *(("examples", x) for x in ("8", -8, 1.5)),
    ("part", 3),
    *(("camera", x) for x in (3, [], {}, {**CAMERA, "focal": "0.6"}, {**CAMERA, "metric": 1})),
    *(("camera", {**CAMERA, **x}) for x in ({"focal": -1}, {"width": 0}, {"lens": 1})),
  ],
  ids=lambda x: str(x)[:30],
)
def test_fields_of_meta_of_another_type(run, field, value):
  folder = run / "checkpoints/3"
  (folder / "meta/metadata").write_text(json.dumps({**META, field: value}))
  with pytest.raises(errors.BadFileError, match=f"3: is damaged: {field} of its meta is") as error:
    metadata.read(folder)
  assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_numbers_in_meta_that_json_does_not_have(run):
  folder = run / "checkpoints/3"
  (folder / "meta/metadata").write_text(json.dumps({**META, "metrics": {"e": float("nan")}}))
  with pytest.raises(errors.BadFileError, match="metrics of its meta is"):
    metadata.read(folder)


def damages(item):
  """What can be done to an item with an array `params.enc.kernel`, and what is said of it."""
  kernel = "params.enc.kernel"
  return {
    "an array without its header": (
      lambda: drop(item, f"{kernel}/.zarray"),
      f"there is no array {kernel}",
    ),
    "an array without its data": (lambda: drop(item, f"{kernel}/0.0"), f"{kernel}|NOT_FOUND"),
    "complex": (lambda: put(item, kernel, KERNEL.astype(np.complex64)), "dtype complex64"),
    "NaN": (lambda: put(item, kernel, KERNEL * np.nan), f"{kernel} is not finite"),
    "infinite": (lambda: put(item, kernel, KERNEL + np.inf), f"{kernel} is not finite"),
    "a header of another shape": (
      lambda: edit(item, f"{kernel}/.zarray", lambda x: {**x, "shape": [4, 3]}),
      "cannot be restored",
    ),
    "a header of other chunks": (
      lambda: edit(item, f"{kernel}/.zarray", lambda x: {**x, "shape": [2, 4], "chunks": [2, 4]}),
      "cannot be restored",
    ),
    "a header of another dtype": (
      lambda: edit(item, f"{kernel}/.zarray", lambda x: {**x, "dtype": "<f8"}),
      "cannot be restored",
    ),
    "a header of a huge shape": (
      lambda: edit(
        item,
        f"{kernel}/.zarray",
        lambda x: {**x, "shape": [10**6, 10**6], "chunks": [10**6, 10**6]},
      ),
      "is not in|cannot be restored",
    ),
    "a header that is null": (
      lambda: edit(item, f"{kernel}/.zarray", lambda _: None),
      "cannot be restored",
    ),
    **{
      f"_METADATA {text[:30]}": (lambda text=text: (item / "_METADATA").write_text(text), words)
      for text, words in (
        ("null", "not the list of its arrays"),
        ("3", "not the list of its arrays"),
        ("[]", "not the list of its arrays"),
        ("{}", "not the list of its arrays"),
        (DEEP, "is not JSON"),
        ('{"tree_metadata": {}}', "there are no arrays in it"),
        ('{"tree_metadata": {"x": null}}', "not the list of its arrays"),
        ('{"tree_metadata": {"x": {"key_metadata": 3}}}', "not the list of its arrays"),
        ('{"tree_metadata": [1]}', "not the list of its arrays"),
      )
    },
    "no _METADATA": (lambda: (item / "_METADATA").unlink(), "_METADATA: no such file"),
    "no manifest": (lambda: (item / "manifest.ocdbt").unlink(), "no array"),
    "no data files": (lambda: shutil.rmtree(item / "d"), "cannot be restored"),
    "cut data files": (
      lambda: [p.write_bytes(p.read_bytes()[:9]) for p in item.rglob("d/*")],
      "cannot be restored",
    ),
    "scrambled data files": (
      lambda: [p.write_bytes(bytes(reversed(p.read_bytes()))) for p in item.rglob("d/*")],
      "cannot be restored",
    ),
    "a manifest that is a folder": (
      lambda: ((item / "manifest.ocdbt").unlink(), (item / "manifest.ocdbt").mkdir()),
      "cannot be restored",
    ),
  }


@pytest.mark.parametrize("item", ["variables", "state"])
@pytest.mark.parametrize("damage", damages(pathlib.Path()))
def test_damaged_arrays(run, capfd, item, damage):
  folder = run / "checkpoints" / "3"
  hurt, words = damages(folder / item)[damage]
  hurt()
  with pytest.raises(errors.BadFileError, match=words) as error:
    if item == "state":
      checkpoints.restore_part(folder, ("params",))
    else:
      checkpoints.restore_variables(folder)
  assert "\n" not in str(error.value) and item in str(error.value)
  assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
  "name, value, words",
  [
    ("params.b", np.float64(1), r"params.b has dtype float64 \(expected float32\)"),
    ("params.b", np.int32(1), "params.b has dtype int32"),
    ("params.b", np.array(1, ml_dtypes.bfloat16), "params.b has dtype bfloat16"),
    ("batch_stats.enc.mean", np.ones(3, np.float16), "mean has dtype float16"),
  ],
)
def test_published_arrays_of_another_dtype(run, name, value, words):
  put(run / "checkpoints/3/variables", name, np.asarray(value))
  with pytest.raises(errors.BadFileError, match=words):
    checkpoints.restore_variables(run / "checkpoints/3")


def test_variables_that_are_no_variables(run):
  folder = run / "checkpoints/3"
  shutil.rmtree(folder / "variables")
  shutil.copytree(folder / "state", folder / "variables")
  put(folder / "variables", "frozen.w", np.ones(1, np.float32))
  with pytest.raises(errors.BadFileError, match="variables: holds .* params and batch_stats alone"):
    checkpoints.restore_variables(folder)


def test_a_state_of_another_shape_or_step(run):
  put(run / "checkpoints/3/state", "params.enc.kernel", KERNEL[:, :2])
  with pytest.raises(errors.UserError, match=r"enc.kernel: float32\[2, 2\] there, float32\[2, 3\]"):
    restored(run)
  put(run / "checkpoints/3/state", "params.enc.kernel", KERNEL)
  put(run / "checkpoints/3/state", "step", np.array(2, np.int32))
  with pytest.raises(errors.BadFileError, match="is named 3, and its state is that of 2"):
    restored(run)


def test_the_state_must_be_finite_but_for_what_is_frozen(run):
  put(run / "checkpoints/3/state", "opt_state.0.mu", np.full(3, np.nan, np.float32))
  with pytest.raises(errors.BadFileError, match="opt_state.0.mu is not finite"):
    restored(run)


def test_other_numbers_among_the_checkpoints_are_no_steps(run):
  for name in ("04", "٣", "-1", "1e3"):
    shutil.copytree(run / "checkpoints/3", run / "checkpoints" / name)
  assert checkpoints.find(run, "last").name == "3"


def test_folders_that_nobody_may_read(run, monkeypatch):
  """Root may read everything: the system's refusal is played."""

  def refuse(path):
    raise PermissionError(13, os.strerror(13), str(path))

  monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
  with pytest.raises(errors.BadFileError, match="/checkpoints: cannot be read: Permission denied$"):
    checkpoints.find(run)
  monkeypatch.setattr(pathlib.Path, "is_dir", refuse)
  with pytest.raises(errors.BadFileError, match="/run: cannot be read: Permission denied$"):
    checkpoints.find(run)
  with pytest.raises(errors.BadFileError, match="/state: cannot be read: Permission denied$"):
    checkpoints.restore_part(run / "checkpoints/3", ("params",))


def test_a_name_that_is_too_long():
  with pytest.raises(errors.BadFileError, match="cannot be read: File name too long"):
    checkpoints.find("x" * 5000)


@pytest.mark.parametrize(
  "value",
  [
    None,
    [],
    {},
    {"before": None},
    *(
      {**vars(record.Record()), name: wrong}
      for name, wrong in (
        ("before", 3),
        ("before", {"e": "x"}),
        ("metrics", None),
        ("validated", "4"),
        ("best", {"step": 1}),
        ("best", [1, 2]),
        ("seconds", {"train": 1.0}),
        ("seconds", None),
        ("bytes", -1),
        ("bytes", "many"),
        ("window", 3),
      )
    ),
  ],
  ids=lambda x: str(x)[:40],
)
def test_a_record_of_another_form(run, value, toy):
  """A run does not go on from it."""
  (run / "checkpoints/3/meta/metadata").write_text(json.dumps({**META, "record": value}))
  with saving.Saver(run, toy.create(), META["config"], 8) as saver:
    with pytest.raises(errors.BadFileError, match="3/meta: its record ") as error:
      saver.restore(state())
  assert "\n" not in str(error.value)


def test_what_a_meta_names_is_not_imported(run):
  """Whatever stands there, reading it runs nothing: only texts and numbers come back."""
  meta = {**META, "config": {"recipe": "os:abort"}, "which": "sys:exit", "part": "os:abort"}
  (run / "checkpoints/3/meta/metadata").write_text(json.dumps(meta))
  assert checkpoints.restore_variables(run / "checkpoints/3")[1] == meta
