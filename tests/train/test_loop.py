import json
import signal
import threading
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bicross_jax import errors
from bicross_jax.train import loop


def test_result_says_what_happened(whole):
  run, result = whole
  assert list(run.workdir.glob("events.out.tfevents*"))
  assert result["steps"] == 12 and result["metric"] == "error" and result["mode"] == "min"
  assert result["after"]["error"] < result["before"]["error"]
  assert set(result["seconds"]) == {"start", "compile", "train", "validate", "save"}
  assert result["seconds"]["compile"] > 0
  assert json.loads((run.workdir / "result.json").read_text()) == result
  validated = {r["step"]: r["validation/error"] for r in run.lines if "validation/error" in r}
  assert list(validated) == [0, 4, 8, 12]
  after = {k: v for k, v in validated.items() if k}
  assert result["best"]["value"] == min(after.values()) == after[result["best"]["step"]]
  assert [r["step"] for r in run.lines if "train/loss" in r] == [5, 10, 12]


def test_learning_rates_are_logged(whole):
  """The mean of those of steps 1 to 5: 0.05 and half of it, times warm-up and cosine."""
  first = whole[0].lines[2]
  k = np.arange(5)
  factor = np.minimum(1, (k + 1) / 3) * (1 + np.cos(np.pi * np.maximum(0, k - 2) / 38)) / 2
  assert first["step"] == 5
  np.testing.assert_allclose(first["train/lr/w"], 0.05 * factor.mean(), rtol=1e-5)
  np.testing.assert_allclose(first["train/lr/b"], 0.025 * factor.mean(), rtol=1e-5)


def test_metrics_are_means_over_the_window(toy, tmp_path):
  """Against plain NumPy: with learning rate 0 the model does not move."""
  recipe = toy.create(noise=0.0, rate=0.0)
  toy.train(tmp_path, recipe, steps=4, log_every=3)
  rows = [json.loads(r) for r in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  key = jax.random.fold_in(jax.random.key(3), zlib.crc32(b"init"))
  w = np.asarray(recipe.init(key, {}).params["w"], np.float64)
  batches = [toy.batch(step) for step in range(4)]
  squares = [np.mean((b["x"] @ w - b["y"]) ** 2) for b in batches]
  logged = [r for r in rows if "train/loss" in r]
  assert [r["step"] for r in logged] == [3, 4]
  np.testing.assert_allclose(
    [r["train/loss"] for r in logged], [np.mean(squares[:3]), squares[3]], rtol=1e-5
  )
  np.testing.assert_allclose(logged[1]["train/pooled"], batches[3]["x"].mean(), rtol=1e-4)
  np.testing.assert_allclose(
    logged[0]["train/by_feature"], np.mean([b["x"].mean(0) for b in batches[:3]], 0), rtol=1e-4
  )
  assert "train/nothing" not in logged[0]  # it counted nothing
  assert logged[0]["time/images_per_second"] > 0


def test_prints_before_and_after(toy, tmp_path, capsys):
  result = toy.train(tmp_path, steps=5, validate_every=5)
  out, err = capsys.readouterr()
  before, after = result["before"]["error"], result["after"]["error"]
  assert f"validation error {before:.4g} -> {after:.4g}" in out
  assert "step 5/5" in err and "loss" in err and "images/s" in err and "left" in err


def test_finished_run_does_nothing(whole, toy, capsys):
  run, result = whole
  before = sorted(p for p in run.workdir.rglob("*"))
  data = toy.Data()
  assert toy.train(run.workdir, data=data) == result
  assert "finished" in capsys.readouterr().out and not data.started
  assert sorted(p for p in run.workdir.rglob("*")) == before


def test_other_config_is_refused(whole, toy):
  run, _ = whole
  with pytest.raises(errors.UserError, match=r"train.steps: 12 there, 13 here"):
    toy.train(run.workdir, steps=13)


def test_a_folder_in_which_another_trains_is_refused(toy, tmp_path):
  def refused(predict, score):
    with pytest.raises(errors.UserError, match="another process is training in"):
      toy.train(tmp_path)
    return toy.Validate()(predict, score)

  toy.train(tmp_path, validate=refused)


@pytest.mark.parametrize("step", [2, 5, 8, 11])
def test_sigterm_then_resume_is_bit_exact(whole, toy, left, tmp_path, step, capsys):
  """Stopped before, at and after log lines, validations and checkpoints."""
  handler = signal.getsignal(signal.SIGTERM)
  data = toy.Data({step: toy.send(signal.SIGTERM)})
  with pytest.raises(loop.Stopped) as stop:
    toy.train(tmp_path, data=data)
  assert stop.value.code == 0 and data.closed
  assert "asked to stop" in capsys.readouterr().out
  assert signal.getsignal(signal.SIGTERM) is handler
  at = stop.value.step
  if at:
    assert left(tmp_path).steps[-1] == at
  again = toy.Data()
  toy.train(tmp_path, data=again)
  assert again.started == ([at] if at < 12 else [])  # the signal may come with the last step
  left(tmp_path).assert_equals(whole[0])


@pytest.mark.parametrize("call", [1, 2, 4])
def test_sigterm_in_a_validation(whole, toy, left, tmp_path, call):
  """The validation is given up, and made up for when the run goes on."""
  with pytest.raises(loop.Stopped) as stop:
    toy.train(tmp_path, validate=toy.Validate({call: toy.send(signal.SIGTERM)}))
  assert stop.value.step == [0, 4, 8, 12][call - 1]
  result = toy.train(tmp_path)
  left(tmp_path).assert_equals(whole[0])
  timeless = lambda r: {k: v for k, v in r.items() if k != "seconds"}
  assert timeless(result) == timeless(whole[1])


def test_sigterm_twice_around_a_validation(whole, toy, left, tmp_path):
  with pytest.raises(loop.Stopped):
    toy.train(tmp_path, validate=toy.Validate({2: toy.send(signal.SIGTERM)}))
  with pytest.raises(loop.Stopped) as stop:  # again in that validation
    toy.train(tmp_path, validate=toy.Validate({1: toy.send(signal.SIGTERM)}))
  assert stop.value.step == 4
  toy.train(tmp_path)
  left(tmp_path).assert_equals(whole[0])


def test_an_exception_then_resume_is_bit_exact(whole, toy, left, tmp_path):
  """Lines that were written after the last checkpoint are cut off again."""

  def fail():
    raise OSError("disk on fire")

  with pytest.raises(OSError, match="on fire"):
    toy.train(tmp_path, validate=toy.Validate({3: fail}))  # at step 8, after the line of step 5
  assert left(tmp_path).steps[-1] == 6
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 7, "train/lo')  # as a killed process would
  toy.train(tmp_path)
  left(tmp_path).assert_equals(whole[0])


def test_infinite_metric_names_step_and_term(toy, left, tmp_path):
  with pytest.raises(loop.DivergedError) as stop:
    toy.train(tmp_path, toy.create(bad_metric_at=8), log_every=12, validate_every=12)
  assert stop.value.step == 8 and stop.value.terms == ["aux"]
  assert "aux not finite at step 8" in str(stop.value)
  assert str(tmp_path / "checkpoints" / "6") in str(stop.value)
  assert left(tmp_path).steps == [6]
  assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("every", [1, 12])
def test_bad_parameters_are_never_saved(toy, left, tmp_path, every):
  """The loss of step 6 is finite, the parameters after it are not."""
  with pytest.raises(loop.DivergedError) as stop:
    toy.train(tmp_path, toy.create(bad_params_at=6), log_every=every, validate_every=12)
  assert stop.value.step == 6 and stop.value.terms == ["state.params"]
  assert left(tmp_path).steps == [3]
  assert np.all(np.isfinite(left(tmp_path).state(3)["params"]["b"]))


def test_bad_optimiser_state_is_never_saved(toy, tmp_path):
  recipe = toy.create()
  broken = recipe._replace(
    init=lambda key, parents: (
      lambda s: s.replace(teacher=jax.tree.map(lambda x: x * jnp.nan, s.teacher))
    )(recipe.init(key, parents))
  )
  with pytest.raises(loop.DivergedError, match="teacher.*no checkpoint yet"):
    toy.train(tmp_path, broken)


def test_best_and_last_are_kept(toy, left, tmp_path):
  values = [9.0, 5.0, 1.0, float("nan"), 3.0]  # at 0, 2, 4, 6, 8
  result = toy.train(
    tmp_path, validate=toy.Validate(values=values), steps=8, validate_every=2, checkpoint_every=1
  )
  assert left(tmp_path).steps == [4, 8]
  assert result["best"] == {"step": 4, "value": 1.0}
  assert result["before"]["error"] == 9.0 and result["after"]["error"] == 3.0


def test_best_can_be_the_highest(toy, left, tmp_path):
  recipe = toy.create()._replace(metric=("error", "max"), publishes="teacher")
  toy.train(tmp_path, recipe, validate=toy.Validate(values=[9.0, 2.0, 5.0, 4.0]))
  assert left(tmp_path).steps == [8, 12]
  meta = json.loads((tmp_path / "checkpoints/8/meta/metadata").read_text())
  assert meta["metric"] == {"name": "error", "mode": "max", "value": 5.0}
  assert meta["which"] == "teacher" and meta["step"] == 8 and meta["config"]["name"] == "toy"
  assert meta["metrics"]["error"] == 5.0 and "jax" in meta["versions"]


def test_checkpoint_opens_with_orbax_alone(whole, python):
  """With today's API and with the one that will follow it."""
  run, _ = whole
  code = """
import json, sys
import orbax.checkpoint as ocp
from orbax.checkpoint.experimental import v1
first = ocp.StandardCheckpointer().restore(sys.argv[1] + "/variables")
second = v1.load(sys.argv[1], checkpointable_name="variables")
assert not any(m.startswith("bicross_jax") for m in sys.modules)
print(json.dumps([[sorted(v), v["params"]["w"].tolist()] for v in (first, second)]))
"""
  done = python("-c", code, run.workdir.absolute() / "checkpoints" / "12")
  assert done.returncode == 0, done.stderr
  for names, w in json.loads(done.stdout.splitlines()[-1]):
    assert names == ["batch_stats", "params"]
    np.testing.assert_array_equal(np.array(w, np.float32), run.state(12)["params"]["w"])


def test_starts_from_given_variables(toy, left, tmp_path):
  """The initial arrays are the caller's: training must not give their memory away."""
  w = jnp.arange(float(toy.FEATURES))
  parents = {"teacher": {"params": {"w": w}}}
  toy.train(tmp_path, toy.create(rate=0.0), parents=parents, steps=1)
  np.testing.assert_array_equal(w, np.arange(toy.FEATURES))
  np.testing.assert_array_equal(left(tmp_path).state(1)["params"]["w"], w)


def test_data_that_ends_early(toy, tmp_path):
  with pytest.raises(errors.UserError, match="ended after 7 of 12 steps"):
    toy.train(tmp_path, data=toy.Data(length=7))


def test_step_that_does_not_count(toy, tmp_path):
  recipe = toy.create()

  def train_step(state, batch, key):
    new, metrics = recipe.train_step(state, batch, key)
    return new.replace(step=state.step), metrics

  with pytest.raises(ValueError, match="state.step is 0 after 3 steps"):
    toy.train(tmp_path, recipe._replace(train_step=train_step))


def test_validation_without_the_metric(toy, tmp_path):
  with pytest.raises(ValueError, match="gave no error, only"):
    toy.train(tmp_path, validate=lambda predict, score: {"other": 1.0})


def test_validation_by_the_recipes_own_score(toy, tmp_path):
  """It comes bound to the variables; what it counts is the caller's to add."""
  seen = []

  def score(variables, batch):
    y = batch["x"] @ variables["params"]["w"]
    return {"error": (jnp.sum(y**2 * batch["mask"]), batch["mask"].sum())}

  def validate(predict, score):
    del predict
    batches = [{**toy.batch(k), "mask": np.arange(8) < 8 - 5 * k} for k in range(2)]
    found = [score(batch)["error"] for batch in batches]
    assert all(isinstance(x, jax.Array) for pair in found for x in pair)
    seen.append((batches, sum(s for s, _ in found) / sum(n for _, n in found)))
    return {"error": seen[-1][1]}

  recipe = toy.create(rate=0.0)._replace(score=score)
  result = toy.train(tmp_path, recipe, validate=validate, steps=2)
  batches, value = seen[-1]
  x = np.concatenate([b["x"][b["mask"]] for b in batches])
  key = jax.random.fold_in(jax.random.key(3), zlib.crc32(b"init"))
  want = np.mean((x @ np.asarray(recipe.init(key, {}).params["w"])) ** 2)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  assert len(seen) == 2 and result["after"]["error"] == float(value)


def test_predictions_are_not_fetched_and_carry_goes_round(toy, tmp_path):
  carries = []

  def validate(predict, score):
    assert score is None
    out, carry = predict({"x": toy.batch(0)["x"]})
    again, carry = predict({"x": toy.batch(1)["x"]}, carry)
    assert all(isinstance(x["y"], jax.Array) for x in (out, again))
    carries.append(int(carry[0]))
    return {"error": 1.0}

  toy.train(tmp_path, validate=validate, steps=1)
  assert carries == [2, 2]


def test_a_run_goes_on_with_as_many_examples_alone(toy, tmp_path):
  with pytest.raises(loop.Stopped):
    toy.train(tmp_path, data=toy.Data({5: toy.send(signal.SIGTERM)}))
  config = toy.config()
  with pytest.raises(errors.UserError, match="trained on 100 examples and there are 99 now"):
    loop.run(
      config,
      toy.create(),
      toy.Data(),
      toy.Validate(),
      tmp_path,
      {},
      durations=config.train,
      examples=99,
    )


def test_zero_duration_is_refused(toy, tmp_path):
  with pytest.raises(errors.UserError, match="train.log_every=0"):
    toy.train(tmp_path, log_every=0)
  assert not list(tmp_path.iterdir())


def test_runs_outside_the_main_thread(toy, tmp_path):
  results = []
  thread = threading.Thread(target=lambda: results.append(toy.train(tmp_path, steps=2)))
  thread.start()
  thread.join()
  assert results[0]["steps"] == 2


def test_nothing_runs_on_afterwards(toy, tmp_path):
  """The thread that reads data ends with the run, whatever its end."""
  data = toy.Data()
  toy.train(tmp_path, data=data, steps=2)
  assert data.closed
  assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_step_takes_nothing_from_the_host(toy, monkeypatch, tmp_path):
  """Batches come from the reading thread; the step itself finds everything on the devices."""
  recipe = toy.create()

  class Training(loop._Training):
    def _compiled(self, *compiling):
      step = super()._compiled(*compiling)

      def guarded(*args):
        with jax.transfer_guard("disallow"):
          return step(*args)

      return guarded

  monkeypatch.setattr(loop, "_Training", Training)
  toy.train(tmp_path, recipe, steps=6, log_every=4, validate_every=6)
