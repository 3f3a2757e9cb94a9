"""Where things are kept that can be made anew, also for users without a home."""

import os
import pwd

import pytest

from bicross_jax import errors, folders


@pytest.fixture
def homeless(monkeypatch):
  """A user whom the system does not know: HOME is not set and there is no entry for the number."""

  def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

  monkeypatch.setattr(pwd, "getpwuid", nobody)
  for name in ("HOME", "XDG_CACHE_HOME", "A_FOLDER"):
    monkeypatch.delenv(name, raising=False)


def test_the_variable_then_the_cache_then_home(monkeypatch, tmp_path):
  monkeypatch.delenv("A_FOLDER", raising=False)
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setenv("HOME", str(tmp_path))
  assert folders.cache("data", "A_FOLDER") == tmp_path / ".cache" / "bicross_jax" / "data"
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  assert folders.cache("jax", "A_FOLDER") == tmp_path / "cache" / "bicross_jax" / "jax"
  monkeypatch.setenv("A_FOLDER", "~/all")
  assert folders.cache("jax", "A_FOLDER") == tmp_path / "all"
  monkeypatch.setenv("A_FOLDER", "here")
  assert folders.cache("jax", "A_FOLDER") == folders.pathlib.Path(os.getcwd()) / "here"


def test_home_is_asked_for_only_where_it_is_needed(homeless, monkeypatch):
  with pytest.raises(errors.UserError, match="no home folder.*set A_FOLDER") as caught:
    folders.cache("data", "A_FOLDER")
  assert "\n" not in str(caught.value)
  with pytest.raises(errors.UserError, match="~/x.*write it in full"):
    folders.expand("~/x", "write it in full")
  monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
  assert str(folders.cache("data", "A_FOLDER")) == "/cache/bicross_jax/data"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("A_FOLDER", "/all")
  assert str(folders.cache("data", "A_FOLDER")) == "/all"
