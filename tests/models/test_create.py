"""models.create: what it makes and how it refuses."""

import pytest

from bicross_jax import errors, models


def test_makes_every_model_with_its_options():
  for name, module in models.MODELS.items():
    assert isinstance(models.create(name), module)
  assert models.create("dpt", backbone="tiny").backbone == "tiny"


@pytest.mark.parametrize(
  "name, options, listed",
  [
    ("dqt", {}, "dpt"),
    ("dpt", {"back_bone": "tiny"}, "backbone"),
    ("dpt", {"backbone": "huge"}, "hybrid, base, large, small, tiny, nano"),
    ("dpt", {"activation": "relu"}, "softplus"),
    ("dpt", {"dtype": "float16"}, "bfloat16"),
    ("dpt", {"in_channels": 128, "stem_bins": 24}, "does not divide"),
    ("dpt", {"in_channels": 0}, "in_channels 0"),
    ("deeplab", {"backbone": "xception"}, "resnet, mobilenet, drn"),
    ("deeplab", {"layers": 19}, "18, 34, 50, 101, 152"),
    ("deeplab", {"output_stride": 32}, "16, 8"),
    ("deeplab", {"dropout": "decoder"}, "all, aspp, none"),
    ("deeplab", {"reconstruction": "gan"}, "none, dual, dual_v2, dual_v3"),
    ("deeplab", {"classes": 0}, "classes 0 must be 1 or more"),
    ("deeplab", {"dilations": (6, 12)}, "three numbers of 1 or more, or none"),
    ("deeplab", {"multi_grid": (1, 0, 4)}, "multi_grid are three numbers"),
    ("projection_head", {"dtype": "half"}, "float32"),
    ("projection_head", {"name": "x"}, "hidden"),
  ],
)
def test_mistakes_are_told_with_the_right_ones(name, options, listed):
  with pytest.raises(errors.UserError, match=listed):
    models.create(name, **options)
