"""What the stages of EvDistill share: what networks see, supervision, augmentation, optimisers.

The equations are those of docs/systems/evdistill.md (Wang et al., "EvDistill", CVPR 2021).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bicross_jax import errors, models
from bicross_jax.losses import segmentation
from bicross_jax.models import transfer
from bicross_jax.ops import inputs, jitter, zoom
from bicross_jax.train import optim
from bicross_jax.train.state import AXIS

FIELDS = {"frames": "rgb", "events": "event_image"}  # by modality
_MEAN = np.float32([[[[0.485, 0.456, 0.406]]]])  # of ImageNet
_STD = np.float32([[[[0.229, 0.224, 0.225]]]])
# Modules of DeepLab that make an image, and compare it.
_BRANCH = ("image_decoder", "deconvolved", "shuffled", "pointwise", "pointwise_norm")
_JITTER = 0.5  # strength of brightness, contrast and saturation
_START = 5e-6  # rate at the begin of the warm-up before "poly"
_MOMENTUM = 0.9


def network(config):
  """The linen module of `config.model`."""
  options = dict(config.model)
  return models.create(options.pop("name"), axis_name=AXIS, **options)


def initialise(config, module, key: jax.Array) -> dict[str, Any]:
  """Random variables of the network of a config."""
  return models.init(module, key, (1, config.data.height, config.data.width, 3))


def teacher(config, module, key: jax.Array, parents: Mapping[str, Any]) -> dict[str, Any]:
  """The variables of the parent `teacher`, with a new branch for images where its student has one and it has none.

  Raises:
    errors.UserError: there is none, or it is no such network; the message lists what does not fit.
  """
  if "teacher" not in parents:
    raise errors.UserError("stage student starts from parents.teacher, a network of frames")
  make = lambda key: initialise(config, module, key)
  found, new = transfer.adopt(jax.eval_shape(make, key), parents["teacher"])
  other = [name for name in new if name not in _BRANCH]
  if other:
    raise errors.UserError(f"parents.teacher is no whole network: it lacks {', '.join(other)}")
  return transfer.adopt(make(key), parents["teacher"])[0] if new else found


def picture(config, batch: Mapping[str, jax.Array], modality: str) -> jax.Array:
  """The field of a modality in 0..1: a frame float32[B, H, W, 3], or with `input.grey` [B, H, W, 1]; an event image [B, H, W, 2]."""
  x = batch[FIELDS[modality]].astype(jnp.float32) / 255
  return jitter.luma(x)[..., None] if modality == "frames" and config.input.grey else x


def seen(config, x: jax.Array) -> jax.Array:
  """What a segmentation network sees of a picture in 0..1: float32[B, H, W, 3].

  A grey frame stands in all three channels; an event image has a third one of zeros.
  """
  channels = x.shape[-1]
  if channels == 1:
    x = jnp.broadcast_to(x, (*x.shape[:3], 3))
  elif channels == 2:
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1)))
  return (x - _MEAN) / _STD if config.input.normalise else x


def learn(config, module, variables, x: jax.Array, key: jax.Array):
  """(output, new batch statistics) of a network in training, for a picture in 0..1."""
  output, updates = module.apply(
    variables, seen(config, x), train=True, mutable=["batch_stats"], rngs={"dropout": key}
  )
  return output, updates["batch_stats"]


def supervision(config, output, label: jax.Array) -> jax.Array:
  """The weighted cross-entropy with labels uint8[B, H, W]: float32[]."""
  loss = config.loss
  return loss.labels * segmentation.ohem(output.logits, label, loss.ohem, axis_name=AXIS)


def augmented(config, key: jax.Array, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """A batch of maps as `config.augment` changes it: colours of frames, mirror images, enlargement."""
  keys, augment, batch = jax.random.split(key, 3), config.augment, dict(batch)
  if augment.jitter and "rgb" in batch:
    x = batch["rgb"].astype(jnp.float32) / 255
    x = jitter.jitter(keys[0], x, strength=_JITTER, hue=0.0, share=augment.jitter)
    batch["rgb"] = jnp.round(255 * x).astype(jnp.uint8)
  if augment.flip:
    batch = inputs.random_flip(keys[1], batch, share=augment.flip)
  return zoom.random_zoom(keys[2], batch, augment.scales) if augment.scales else batch


def optimiser(section, steps: int, name: str = "lr"):
  """SGD with Nesterov's momentum, or Adam, at one rate; norms and biases do not decay.

  Args:
    section: of a config: `name` (sgd or adam), `lr`, `weight_decay`, `schedule`, `warmup`.
    steps: of the training.
    name: of the rate among the metrics.
  """
  options = {"start": _START / section.lr} if section.schedule == "poly" and section.lr else {}
  chosen = optim.schedule(section.schedule, steps=steps, warmup=section.warmup, **options)
  groups = [
    optim.Group(section.lr, r"(scale|bias)$", f"{name}_norms"),
    optim.Group(section.lr, "", name, weight_decay=section.weight_decay),
  ]
  if section.name == "sgd":
    return optim.sgd(groups, chosen, momentum=_MOMENTUM, nesterov=True)
  return optim.adam(groups, chosen)


def predictor(config, module, modality: str, *, feature: bool = False):
  """The predict function of a recipe: {"logits": float32[B, H, W, K]}, with `feature` what the decoder sees too."""

  def predict(variables, batch, carry=()):
    output = module.apply(variables, seen(config, picture(config, batch, modality)))
    out = {"logits": output.logits}
    return (out | {"feature": output.features["aspp"]} if feature else out), carry

  return predict
