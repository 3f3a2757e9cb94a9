import grp
import itertools
import pwd
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from bicross_jax import errors
from bicross_jax.data.builders import base, storage


class Numbers(base.Builder, skip_registration=True):
  """Ten numbers; counts how often they are made and can be interrupted."""

  name = "numbers"
  VERSION = tfds.core.Version("1.0.0")
  made = 0
  stop_at = None

  def features(self):
    return {"key": tfds.features.Text(), "depth": base.tensor((None, None), np.int32)}

  def sizes(self):
    return {"train": 10, "test": 3}

  def example_bytes(self):
    return base.SHARD_BYTES // 4

  def required_bytes(self):
    return 10_000

  def examples(self, part, start, stop):
    for i in range(start, stop):
      if i == type(self).stop_at:
        raise KeyboardInterrupt
      type(self).made += 1
      yield {"key": f"{part}/{i}", "depth": np.full((i + 1, 2), i, np.int32)}


CONFIG = tfds.core.BuilderConfig(name="a", description="a")


@pytest.fixture
def numbers(monkeypatch):
  monkeypatch.setattr(Numbers, "made", 0)
  monkeypatch.setattr(Numbers, "stop_at", None)
  return Numbers


def test_the_root_is_the_folder_asked_for_then_the_variable_then_the_cache(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.delenv("BICROSS_DATA", raising=False)
  assert storage.root() == tmp_path / "cache" / "bicross_jax" / "data"
  monkeypatch.setenv("BICROSS_DATA", str(tmp_path / "all"))
  assert storage.root() == tmp_path / "all"
  assert storage.root(tmp_path / "mine") == tmp_path / "mine"


def test_examples_come_back_in_order_from_several_shards(numbers, tmp_path, capfd):
  builder = storage.prepare(numbers, CONFIG, tmp_path)
  assert len(list(tmp_path.rglob("numbers-train.array_record*"))) == 3
  values = [int(e["depth"][0, 0]) for e in builder.as_data_source("train")]
  assert values == list(range(10))
  assert numbers.made == 13
  storage.prepare(numbers, CONFIG, tmp_path)
  assert numbers.made == 13
  out, err = capfd.readouterr()
  assert not out
  lines = [line for line in err.replace("\r", "\n").splitlines() if line]
  assert lines and all("building numbers" in line for line in lines)


def test_an_interrupted_build_leaves_nothing_that_looks_whole(numbers, tmp_path):
  numbers.stop_at = 7
  with pytest.raises(KeyboardInterrupt):
    storage.prepare(numbers, CONFIG, tmp_path)
  assert not list(tmp_path.rglob("*.array_record*"))
  killed = tmp_path / "numbers" / "a" / "incomplete.ABCDEF_1.0.0"  # what SIGKILL would leave
  killed.mkdir(parents=True)
  numbers.stop_at = None
  builder = storage.prepare(numbers, CONFIG, tmp_path)
  assert len(builder.as_data_source("train")) == 10
  assert not killed.exists()


def test_of_several_that_ask_at_once_one_builds(numbers, tmp_path, monkeypatch):
  slow = numbers.examples

  def examples(self, part, start, stop):
    for example in slow(self, part, start, stop):
      time.sleep(0.02)
      yield example

  monkeypatch.setattr(numbers, "examples", examples)
  found = []
  threads = [
    threading.Thread(target=lambda: found.append(storage.prepare(numbers, CONFIG, tmp_path)))
    for _ in range(3)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert numbers.made == 13
  assert [len(b.as_data_source("test")) for b in found] == [3, 3, 3]


def test_the_hash_follows_the_content(numbers, tmp_path, monkeypatch):
  first, again = (storage.prepare(numbers, CONFIG, tmp_path / name) for name in "ab")
  assert first.info.metadata["sha256"] == again.info.metadata["sha256"]
  assert set(first.info.metadata["sha256"]) == {"train", "test"}
  same = numbers.examples

  def examples(self, part, start, stop):
    for example in same(self, part, start, stop):
      if example["key"] == "test/2":
        example["depth"] = example["depth"] + 1
      yield example

  monkeypatch.setattr(numbers, "examples", examples)
  other = storage.prepare(numbers, CONFIG, tmp_path / "c").info.metadata["sha256"]
  assert other["train"] == first.info.metadata["sha256"]["train"]
  assert other["test"] != first.info.metadata["sha256"]["test"]


def test_a_folder_that_cannot_be_written_or_is_full(numbers, tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="BICROSS_DATA"):
    storage.prepare(numbers, CONFIG, tmp_path / "file")
  monkeypatch.setattr(numbers, "required_bytes", lambda self: 1 << 60)
  with pytest.raises(errors.UserError, match="GB free"):
    storage.prepare(numbers, CONFIG, tmp_path)
  assert not list(itertools.chain(*(tmp_path.rglob(p) for p in ("*.array_record*", "1.0.0"))))


@pytest.mark.parametrize("place", ["", "numbers", "numbers/a"])
def test_a_file_where_the_folder_should_be(numbers, tmp_path, place):
  file = tmp_path / "root" / place
  file.parent.mkdir(parents=True, exist_ok=True)
  file.write_text("")
  with pytest.raises(errors.UserError, match=f"{file} is a file.*BICROSS_DATA"):
    storage.prepare(numbers, CONFIG, tmp_path / "root")


@pytest.mark.parametrize("content", [b"", bytes(100), b"[1]", b"{}", b'{"name": "numbers"}', None])
def test_a_damaged_description_of_a_built_set(numbers, tmp_path, content):
  folder = storage.pathlib.Path(storage.prepare(numbers, CONFIG, tmp_path).data_dir)
  file = folder / "dataset_info.json"
  file.unlink()
  if content is not None:
    file.write_bytes(content)
  with pytest.raises(errors.UserError, match=f"damaged.*delete the folder {folder}") as caught:
    storage.prepare(numbers, CONFIG, tmp_path)
  assert "\n" not in str(caught.value)
  storage.shutil.rmtree(folder)
  assert len(storage.prepare(numbers, CONFIG, tmp_path).as_data_source("test")) == 3


def test_a_user_without_a_name_builds_too(numbers, tmp_path, monkeypatch):
  def unknown(number):
    raise KeyError(f"not found: {number}")

  monkeypatch.setattr(pwd, "getpwuid", unknown)
  monkeypatch.setattr(grp, "getgrgid", unknown)
  assert len(storage.prepare(numbers, CONFIG, tmp_path).as_data_source("test")) == 3
  assert pwd.getpwuid is unknown and grp.getgrgid is unknown
