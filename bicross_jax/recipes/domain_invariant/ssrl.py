"""Stage `ssrl`: the depth network's decoder learns features that do not depend on the domain, without any label."""

import jax
import jax.numpy as jnp

from bicross_jax import errors, models
from bicross_jax.losses import simsiam
from bicross_jax.models import transfer
from bicross_jax.recipes.domain_invariant import common
from bicross_jax.train import optim
from bicross_jax.train import state as train_state
from bicross_jax.train.state import AXIS

HEAD = "head"


def create(config) -> train_state.Recipe:
  """The recipe of self-supervised representation learning (docs/systems/domain_invariant.md, Stages).

  A picture and its translation are two views of one scene: what SimSiam's head makes of the decoder's last feature
  is to be alike. The encoder, of the parent `weights`, is frozen, its norms too, but blocks drop out; the
  decoder is fresh, or with `ssrl.decoder=given` that of the same parent. Generators, of the parent `generators`, are frozen. Params are {"task", "head"}; published are both
  and the generator "to_source", by which `score` makes the second view.
  Batches: {"source": {rgb}, "target": {rgb}}.
  """
  module, generators = common.network(config), common.translators(config)
  s = config.ssrl
  seen = jnp.zeros((1, config.data.height, config.data.width, 3))
  found = jax.eval_shape(
    lambda key: module.apply(common.initialise(config, module, key), seen), jax.random.key(0)
  )
  width = found.features[-1].shape[-1]  # channels of the decoder's last feature
  head = models.create("simsiam_head", in_channels=width, shrink=s.shrink, axis_name=AXIS)
  slow = [optim.Group(0.0, r"^task/(encoder|decoder/output)/", "frozen")]
  transform = optim.adam(
    [*slow, optim.Group(config.optim.lr, "", "lr")], common.falling(config), b1=0.95, b2=0.999
  )

  def init(key, parents):
    task = common.initialise(config, module, key)
    if "weights" in parents:
      given = common.task_of(parents["weights"])
      if "encoder" not in given["params"]:
        raise errors.UserError("parents.weights has no encoder")
      if s.decoder == "fresh":
        given = {kind: {"encoder": given[kind]["encoder"]} for kind in task}
      task, _ = transfer.adopt(task, given)
    size = (1, config.data.height, config.data.width, width)
    made = {"task": task, HEAD: models.init(head, jax.random.fold_in(key, 1), size)}
    frozen = common.parent(config, parents, "generators", *common.GENERATORS)
    variables = {
      kind: {name: tree[kind] for name, tree in made.items()} for kind in ("params", "batch_stats")
    }
    return optim.begin(
      transform, variables, frozen={name: common.part(frozen, name) for name in common.GENERATORS}
    )

  def train_step(state, batch, key):
    keys = jax.random.split(key, 3)
    views = []  # a picture and its translation, then those of the other domain
    for k, name, generator in zip(keys, ("source", "target"), common.GENERATORS):
      x = common.picture(common.augmented(config, k, batch[name]))
      views += [x, generators[generator].apply(state.frozen[generator], x).image]

    def loss_fn(params):
      given = lambda name: {"params": params[name], "batch_stats": state.batch_stats[name]}
      training = dict(train=True, views=(True,) * len(views), mutable=["batch_stats"])
      output, task = module.apply(
        given("task"),
        jnp.concatenate(views),
        train_encoder=False,
        drop_connect=True,
        rngs={"drop_connect": keys[2]},
        **training,
      )
      found, told = head.apply(given(HEAD), output.features[-1], **training)
      z, p = (common.apart(x, views) for x in found)
      parts = {
        f"simsiam_{name}": s.weight * simsiam.simsiam((p[i], p[i + 1]), (z[i], z[i + 1]), AXIS)
        for i, name in ((0, "source"), (2, "target"))
      }
      stats = {
        "task": state.batch_stats["task"] | dict(task["batch_stats"]),
        HEAD: told["batch_stats"],
      }
      return sum(parts.values()), (parts, stats)

    return optim.take_step(transform, loss_fn, state)

  def variables(state):
    to_source = state.frozen["to_source"]
    return {
      "params": {**state.params, "to_source": to_source["params"]},
      "batch_stats": {**state.batch_stats, "to_source": to_source["batch_stats"]},
    }

  def score(variables, batch):
    """{"simsiam"}: the loss of target pictures with their translations, (sum, count) over rows."""
    x = common.picture(batch)
    pair = x, generators["to_source"].apply(common.part(variables, "to_source"), x).image
    features = [module.apply(common.part(variables, "task"), y).features[-1] for y in pair]
    a, b = (head.apply(common.part(variables, HEAD), f) for f in features)
    alike = simsiam.cosine(a.predicted, b.projected) + simsiam.cosine(b.predicted, a.projected)
    rows = batch["mask"].astype(jnp.float32)
    return {"simsiam": (-(alike.mean((1, 2)) / 2) @ rows, rows.sum())}

  return train_state.Recipe(
    init=init,
    train_step=train_step,
    predict=common.predictor(config, module),
    variables=variables,
    inputs=("rgb",),
    batch_spec=lambda: common.pair_spec(config, "rgb"),
    networks={common.TASK: module, HEAD: head, "to_source": generators["to_source"]},
    metric=("simsiam", "last"),
    score=score,
    fixed=True,
  )
