"""Which camera a network has learned with, and what its depth is for another one."""

import types

import numpy as np
import pytest

from bicross_jax import cameras, recipes
from bicross_jax.config import grammar
from bicross_jax.data.formats import image
from bicross_jax.sim import domains
from bicross_jax.train.state import Camera


def _of(name, *overrides):
  config = grammar.load(f"configs/{name}")
  for item in overrides:
    grammar.override(config, item)
  config = grammar.resolve_durations(config, 100)
  return cameras.trained(config, recipes.create(config))


def test_the_camera_of_every_kind_of_network():
  rig = domains.DOMAINS["clear"].rig
  foggy = domains.DOMAINS["foggy"].rig
  assert _of("epcdepth.py:tiny") == Camera(True, 0.6, 0.54, True)
  assert _of("epcdepth.py:resnet18,kitti") == Camera(True, 0.58, 0.54, True)
  own = _of("epcdepth.py:tiny", "rig.focal=0", "rig.baseline=0")
  assert own == Camera(True, rig.focal, rig.baseline, True)
  assert _of("bicross.py:pretrain") == Camera(True, rig.focal, rig.baseline, True)
  assert _of("bicross.py:pretrain", "data.domain=foggy")[1:3] == (foggy.focal, foggy.baseline)
  assert not _of("bicross.py:pretrain", "loss.depth=ssi").metric
  config = grammar.load("configs/bicross.py:pretrain")
  assert cameras.trained(config, types.SimpleNamespace(camera=None)) is None
  spikes = _of("stereospike.py:spikecam")
  assert spikes == Camera(True, rig.focal, rig.baseline, False, 160)
  nobody = _of("epcdepth.py:resnet18,custom")  # its files are not there
  assert nobody == Camera(True, 0.0, 0.0, True)


def test_the_rig_of_ones_own_is_read_where_the_recipe_leaves_it_open(tmp_path):
  for side in ("left", "right"):
    for i in range(3):
      image.write_png(tmp_path / side / f"{i}.png", np.zeros((64, 96, 3), np.uint8))
  (tmp_path / "calibration.txt").write_text("72 70 47 31\n0.12\n96 64\n")
  folder = f"data.data_dir={tmp_path}"
  whole = _of("epcdepth.py:resnet18,custom", folder)
  assert whole.focal == pytest.approx(72 / 96) and whole.baseline == pytest.approx(0.12)
  cut = _of("epcdepth.py:resnet18,custom", folder, "data.crop=bottom", "data.width=64")
  assert cut.focal == pytest.approx(72 / 64)  # of what the network sees
  given = _of("epcdepth.py:resnet18,custom", folder, "rig.focal=0.5")
  assert given.focal == 0.5 and given.baseline == pytest.approx(0.12)


@pytest.mark.parametrize("focal, width", [(500.0, 1242), (1500.0, 640), (96.0, 160)])
def test_what_a_network_misjudges_is_put_right(focal, width):
  """A network that knows a thing of 2 m tells its distance from its size in the picture."""
  metres, distance, learned, sees = 2.0, 17.0, 0.6, 160
  size = focal * metres / distance  # pixels, in the user's picture
  whole = Camera(True, learned, 0.54, True)
  said = learned * sees * metres / (size * sees / width)
  assert said * cameras.rescaling(whole, focal, width) == pytest.approx(distance)
  pixels = Camera(True, learned, 0.54, False, sees)
  said = learned * sees * metres / size
  assert said * cameras.rescaling(pixels, focal, width) == pytest.approx(distance)


def test_a_checkpoint_says_it_itself():
  config = grammar.resolve_durations(grammar.load("configs/epcdepth.py:tiny"), 100)
  recipe = recipes.create(config)
  kept = {"metric": False, "focal": 0.7, "baseline": 0.1, "whole": False, "width": 64}
  assert cameras.of_checkpoint({"camera": kept}, config, recipe) == Camera(**kept)
  assert cameras.of_checkpoint({"camera": None}, config, recipe) is None
  assert cameras.of_checkpoint({}, config, recipe) == cameras.trained(config, recipe)
