"""Percentile bootstrap intervals over images and seeds (Efron 1979).

Scores are float[images], or float[seeds, images] for several trainings tested on the same images.
Images are drawn with replacement, the same draw for all seeds, since an image is as hard for each
of them; with a seed axis the seeds are drawn with replacement too. So the interval speaks of other
images of this kind and of other seeds. Few seeds say little about seeds: with three, their part
of the interval is too narrow by a factor of about sqrt(2/3). An interval that should hold for the
given runs alone is that of their mean over the seeds, `scores.mean(0)`.
"""

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
  """A value with the ends of its confidence interval."""

  value: float
  low: float
  high: float

  def __str__(self):
    return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean(
  scores: np.ndarray, *, level: float = 0.95, samples: int = 2000, seed: int = 0
) -> Interval:
  """Interval of the mean score.

  Args:
    scores: float[images] or float[seeds, images].
    level: of confidence.
    samples: number of bootstrap draws.
    seed: of the draws; the same seed and shape give the same draws.
  """
  scores = _as_table(scores)
  rng = np.random.default_rng(seed)
  draws = _means(scores, *_weights(rng, scores.shape, samples))
  return _interval(scores.mean(), draws, level)


def difference(
  a: np.ndarray,
  b: np.ndarray,
  *,
  paired: bool = True,
  level: float = 0.95,
  samples: int = 2000,
  seed: int = 0,
) -> Interval:
  """Interval of mean(a) - mean(b).

  Args:
    a, b: float[images] or float[seeds, images].
    paired: both were tested on the same images, in the same order: each draw of images serves
      both, so that what makes an image hard cancels. Seeds are drawn separately: seed 0 of one
      method has nothing in common with seed 0 of another. False: images drawn separately too.
    level, samples, seed: as in `mean`.
  """
  a, b = _as_table(a), _as_table(b)
  if paired and a.shape[1] != b.shape[1]:
    raise ValueError(f"paired scores need the same images, got {a.shape} and {b.shape}")
  rng = np.random.default_rng(seed)
  seeds_a, images_a = _weights(rng, a.shape, samples)
  seeds_b, images_b = _weights(rng, b.shape, samples)
  draws = _means(a, seeds_a, images_a) - _means(b, seeds_b, images_a if paired else images_b)
  return _interval(a.mean() - b.mean(), draws, level)


def _as_table(scores):
  scores = np.atleast_2d(np.asarray(scores, np.float64))
  if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
    raise ValueError(f"finite scores [images] or [seeds, images] are needed, got {scores.shape}")
  return scores


def _weights(rng, shape, samples):
  """How often each seed [samples, seeds] and each image [samples, images] is drawn, as shares."""
  return [rng.multinomial(n, np.full(n, 1 / n), samples) / n for n in shape]


def _means(scores, seeds, images):
  return np.sum(seeds @ scores * images, axis=1)


def _interval(value, draws, level):
  tail = 100 * (1 - level) / 2
  low, high = np.percentile(draws, [tail, 100 - tail])
  return Interval(float(value), float(low), float(high))
