"""Stand-ins for trained networks that are formulas: what `inference.load` would give."""

import types

import jax
import ml_collections
import numpy as np

from bicross_jax.config import sections

H, W, STEPS = 24, 40, 16


def model(inputs, step, task="depth", fields=None, fixed=False, camera=None, **config):
  """A network.

  Args:
    inputs: {field: shape of one example}.
    step: (batch, carry) -> (predictions, carry).
    task: what it predicts.
    fields: of its recipe's own.
    fixed: whether it takes one size alone.
    camera: that it learned with.
    **config: further sections.
  """
  specs = {
    name: jax.ShapeDtypeStruct(shape, np.dtype(bool if name == "reset" else np.uint8))
    for name, shape in inputs.items()
  }
  tested = dict(data=sections.world(), evals={"source": sections.evaluation(task)}, test="source")
  return types.SimpleNamespace(
    config=ml_collections.ConfigDict({"task": task, **tested, **config}),
    inputs=specs,
    recipe=types.SimpleNamespace(
      fields=fields or {}, inputs=tuple(inputs), batch_spec=lambda: specs, fixed=fixed
    ),
    step=step,
    inspect=step,
    camera=camera,
  )


def spikes(**config):
  """Its depth is 1 m more than the spikes of the whole window."""

  def step(batch, carry):
    spike = np.asarray(batch["spike"])
    assert spike.dtype == np.uint8 and spike.ndim == 4 and spike.shape[-1] == STEPS // 8
    depth = 1 + np.bitwise_count(spike).sum(-1, dtype=np.float32)
    return {"depth": depth, "uncertainty": 1 / depth}, carry

  return model({"spike": (H, W, STEPS // 8)}, step, **config)


def pictures(depth=None, **config):
  """Its depth is the mean of the colours, or what `depth` makes of it, at half the size."""

  def step(batch, carry):
    x = np.asarray(batch["rgb"], np.float32).mean(-1)[:, ::2, ::2] + 1
    return {"depth": depth(x) if depth else x, "uncertainty": x / 256}, carry

  return model({"rgb": (H, W, 3)}, step, **config)


def busy(field, **config):
  """A network of classes: 0 to 5 by the sum of a pixel's two or three values, and of nothing else.

  Args:
    field: "event_image" or "rgb".
    **config: as for `model`.
  """
  channels = {"event_image": 2, "rgb": 3}[field]

  def step(batch, carry):
    total = np.asarray(batch[field], np.float32).sum(-1) / (255 * channels)
    return {"logits": -np.abs(6 * total[..., None] - 0.5 - np.arange(6, dtype=np.float32))}, carry

  tested = dict(evals={"source": sections.evaluation("classes", protocol="ddd17")}, test="source")
  return model({field: (H, W, channels)}, step, "classes", **{**tested, **config})


def counter(**config):
  """A network of classes that sees two cameras' events, and remembers how many windows it saw."""

  def step(batch, carry):
    seen = (0 if bool(batch["reset"][0]) else carry) + 1
    label = np.full(batch["events"].shape[:3], seen, np.uint8)
    label[batch["events"].sum((-1, -2)) == 0] = 255
    return {"label": label}, seen

  inputs = {"events": (H, W, 5, 4), "rgb": (H, W, 3), "reset": ()}
  return model(inputs, step, task="classes", **config)
