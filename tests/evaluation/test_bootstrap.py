import numpy as np
import pytest

from bicross_jax.evaluation import bootstrap


def test_interval_of_a_mean_is_the_normal_one():
  x = np.random.default_rng(0).normal(3, 2, 400)
  got = bootstrap.mean(x, samples=4000)
  half = 1.96 * x.std() / np.sqrt(400)
  assert got.value == pytest.approx(x.mean())
  assert got.low == pytest.approx(x.mean() - half, abs=0.1 * half)
  assert got.high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_level_seed_and_samples_are_used():
  x = np.random.default_rng(1).normal(size=50)
  narrow, wide = bootstrap.mean(x, level=0.5), bootstrap.mean(x, level=0.99)
  assert wide.low < narrow.low < narrow.high < wide.high
  assert bootstrap.mean(x) == bootstrap.mean(x) != bootstrap.mean(x, seed=1)
  assert bootstrap.mean(x, samples=1).low == bootstrap.mean(x, samples=1).high


def test_pairing_removes_what_makes_an_image_hard():
  rng = np.random.default_rng(2)
  hard = rng.normal(0, 5, 200)
  a, b = (hard + shift + rng.normal(0, 0.1, 200) for shift in (0.2, 0.0))
  paired, unpaired = (bootstrap.difference(a, b, paired=p) for p in (True, False))
  assert paired.value == unpaired.value == pytest.approx((a - b).mean())
  assert 0 < paired.low < paired.high < 0.3
  assert unpaired.low < 0 < unpaired.high
  d = a - b
  assert paired.high - paired.low == pytest.approx(2 * 1.96 * d.std() / np.sqrt(200), rel=0.1)
  assert unpaired.high - unpaired.low == pytest.approx(
    2 * 1.96 * np.sqrt((a.var() + b.var()) / 200), rel=0.1
  )


def test_variance_of_seeds_and_images_adds_up():
  rng = np.random.default_rng(3)
  scores = rng.normal(0, 1, (8, 1)) + rng.normal(0, 6, 300)[None]
  got = bootstrap.mean(scores, samples=6000)
  want = np.sqrt(scores.mean(1).var() / 8 + scores.mean(0).var() / 300)
  assert got.high - got.low == pytest.approx(2 * 1.96 * want, rel=0.1)
  runs_alone = bootstrap.mean(scores.mean(0))
  assert runs_alone.high - runs_alone.low < got.high - got.low


def test_methods_with_different_numbers_of_seeds():
  rng = np.random.default_rng(4)
  hard = rng.normal(0, 5, 100)
  a, b = hard + rng.normal(0, 0.1, (3, 1)), hard + rng.normal(0, 0.1, (2, 1))
  got = bootstrap.difference(a, b)
  assert got.low < got.value < got.high and got.high - got.low < 1


def test_coverage():
  rng = np.random.default_rng(5)
  hits = 0
  for i in range(400):
    got = bootstrap.mean(rng.exponential(1, 100), samples=500, seed=i)
    hits += got.low <= 1 <= got.high
  assert 0.90 < hits / 400 < 0.98


def test_errors_and_text():
  with pytest.raises(ValueError, match="same images"):
    bootstrap.difference(np.ones(3), np.ones(4))
  for bad in [np.array([]), np.array([1, np.nan]), np.ones((2, 3, 4))]:
    with pytest.raises(ValueError, match="finite scores"):
      bootstrap.mean(bad)
  assert str(bootstrap.Interval(0.12345, 0.1, 0.2)) == "0.123 [0.100, 0.200]"
