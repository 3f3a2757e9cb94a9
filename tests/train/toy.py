"""A toy recipe and toy data for the tests of train/; also a script that runs them.

    python toy.py WORKDIR [--kill STEP] [--term STEP] [--noise SIGMA] [--local]

It may be one of several processes (`train.processes`); --term then is for the last of them.
"""

import argparse
import os
import signal
import sys

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bicross_jax.train import loop, optim, processes
from bicross_jax.train.state import AXIS, Recipe, TrainState

BATCH, FEATURES = 8, 5


def config(**train):
  sizes = dict(steps=12, log_every=5, validate_every=4, checkpoint_every=3)
  return ml_collections.ConfigDict({"seed": 3, "name": "toy", "train": {**sizes, **train}})


def create(noise=0.1, bad_metric_at=0, bad_params_at=0, local=False, rate=0.05):
  """y = x w + b by least squares; the noise in x comes from the step's key.

  Args:
    noise: standard deviation.
    bad_metric_at: step at which the metric "aux" is infinite.
    bad_params_at: step at which a gradient is NaN while the loss is not.
    local: whether each device counts the rows it has seen and keeps their last mean.
    rate: learning rate.
  """
  transform = optim.adam(
    [optim.Group(rate, "w", "w"), optim.Group(rate / 2, name="b")],
    plateau=optim.Plateau(0.5, 0),
    schedule=optim.schedule("cosine", 40, 2),
  )

  def init(key, parents):
    w = jax.random.normal(key, (FEATURES,))
    if "teacher" in parents:
      w = parents["teacher"]["params"]["w"]
    params = {"w": w, "b": jnp.zeros(())}
    n = jax.local_device_count()
    here = {"rows": jnp.zeros((n,), jnp.int32), "mean": jnp.zeros((n, FEATURES))}
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats={"mean": jnp.zeros((FEATURES,))},
      opt_state=transform.init(params),
      teacher={"params": params},  # aliased on purpose
      local=here if local else {},
    )

  def train_step(state, batch, key):
    x = batch["x"] + noise * jax.random.normal(key, batch["x"].shape)

    step = state.step + 1

    def loss_fn(params):
      square = (x @ params["w"] + params["b"] - batch["y"]) ** 2
      bad = step == bad_params_at
      root = jnp.sqrt(jnp.where(bad, params["b"] - params["b"], 1.0))  # of 0: its slope is NaN
      parts = {
        "loss": (jnp.sum(square), x.shape[0]),
        "aux": (jnp.where(step == bad_metric_at, jnp.inf, 1.0), 1),
      }
      return jnp.mean(square) + jnp.where(bad, root, 0.0), (parts, x.mean(0))

    params, opt_state, metrics, mean = optim.step(transform, loss_fn, state.params, state.opt_state)
    pooled = jax.lax.pmean(jnp.mean(x), AXIS)
    del metrics["grad_norm"]  # a norm of NaN would be found first where parameters are looked for
    metrics |= {
      "pooled": (pooled, 1.0),
      "nothing": (jnp.zeros(()), 0),
      "by_feature": (x.sum(0), x.shape[0]),
    }
    here = state.local
    if local:
      here = {"rows": here["rows"] + x.shape[0], "mean": mean}
    mean = jax.lax.pmean(mean, AXIS)
    teacher = optim.ema(state.teacher, {"params": params}, 0.9)
    mean = 0.9 * state.batch_stats["mean"] + 0.1 * mean
    return state.replace(
      step=step,
      params=params,
      batch_stats={"mean": mean},
      opt_state=opt_state,
      teacher=teacher,
      local=here,
    ), metrics

  def predict(variables, batch, carry):
    """The carry counts the batches, so that a test sees it go round."""
    y = batch["x"] @ variables["params"]["w"] + variables["params"]["b"]
    return {"y": y}, (carry[0] + 1,) if carry else (jnp.ones((), jnp.int32),)

  return Recipe(
    init=init,
    train_step=train_step,
    predict=predict,
    variables=lambda state: {"params": state.params, "batch_stats": state.batch_stats},
    on_validation=lambda state, values: state.replace(
      opt_state=optim.plateau_update(state.opt_state, values["error"])
    ),
    metric=("error", "min"),
    inputs=("x",),
    networks={},
    batch_spec=lambda: {
      "x": jax.ShapeDtypeStruct((FEATURES,), np.float32),
      "y": jax.ShapeDtypeStruct((), np.float32),
    },
  )


def batch(seed, rows=BATCH):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
  return {"x": x, "y": (x @ np.arange(FEATURES) + 1).astype(np.float32)}


def mine(rows):
  """This process's share of a batch."""
  n, k = jax.process_count(), jax.process_index()
  return {name: x[k * len(x) // n : (k + 1) * len(x) // n] for name, x in rows.items()}


class Data:
  """Batches as a function of the step; `at` = {step: function called before it is yielded}."""

  def __init__(self, at=None, length=10**6):
    self.at, self.length, self.started, self.closed = at or {}, length, [], False

  def train(self, start_step):
    self.started.append(start_step)
    try:
      for step in range(start_step, self.length):
        self.at.get(step, lambda: None)()
        yield mine(batch(step))
    finally:
      self.closed = True


class Validate:
  """Mean squared error on a fixed batch; `calls` counts, `at` as in Data by number of the call."""

  def __init__(self, at=None, values=()):
    self.calls, self.at, self.values = 0, at or {}, list(values)

  def __call__(self, predict, score=None):
    self.calls += 1
    self.at.get(self.calls, lambda: None)()
    held_out = batch(999, 16)
    y = np.asarray(predict(held_out)[0]["y"])
    error = self.values.pop(0) if self.values else float(np.mean((y - held_out["y"]) ** 2))
    return {"error": error, "bias": float(np.mean(y - held_out["y"]))}


def train(workdir, recipe=None, data=None, validate=None, parents=None, **sizes):
  """The loop with toys for all that is not given; `sizes`: see `config`."""
  written = config(**sizes)
  return loop.run(
    written,
    recipe or create(),
    data or Data(),
    validate or Validate(),
    workdir,
    parents or {},
    durations=written.train,
    examples=100,
  )


def send(number):
  """A function that sends this process a signal."""
  return lambda: os.kill(os.getpid(), number)


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir")
  parser.add_argument("--kill", type=int)
  parser.add_argument("--term", type=int)
  parser.add_argument("--noise", type=float, default=0.1)
  parser.add_argument("--local", action="store_true")
  args = parser.parse_args()
  processes.start(None)
  at = {}
  if args.kill is not None:
    at[args.kill] = send(signal.SIGKILL)
  if args.term is not None and jax.process_index() == jax.process_count() - 1:
    at[args.term] = send(signal.SIGTERM)
  train(args.workdir, create(args.noise, local=args.local), Data(at))
  # Training needs neither, and they are slow to import: every test with this script sees it.
  assert not {name.split(".")[0] for name in sys.modules} & {"tensorflow", "torch"}


if __name__ == "__main__":
  main()
