"""How much of its depth a network keeps where its input is corrupted: DEE, CE, RR, mCE, mRR.

Kong et al., RoboDepth: Robust Out-of-Distribution Depth Estimation under Corruptions, NeurIPS 2023
(Datasets and Benchmarks), after Hendrycks and Dietterich, ICLR 2019. The depth estimation error is their
second, DEE = (AbsRel + 1 - d1) / 2, of a whole test set; CE, RR and their means are in percent, as
published.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

METRICS = {"abs_rel": "AbsRel", "d1": "d1"}  # that DEE is made of, and their titles
Summary = Mapping[str, float]  # of an evaluation, with `METRICS`
NAN = float("nan")


class Judgement(NamedTuple):
  """What was found under one corruption.

  Attributes:
    metrics: {metric: mean over the severities} of `METRICS`.
    dee: {severity: DEE}.
    mean_dee: mean over the severities.
    rr: the mean of 1 - DEE over the severities by 1 - DEE without corruption, percent: 100 is
      nothing lost. NaN where the network knows nothing without corruption (a DEE of 1 or more).
    ce: the sum of DEE over the severities by that of a baseline network, percent: below 100 is
      better than it. NaN without a baseline, or where it makes no error.
  """

  metrics: dict[str, float]
  dee: dict[int, float]
  mean_dee: float
  rr: float
  ce: float = NAN


def dee(summary: Summary) -> float:
  """The depth estimation error (AbsRel + 1 - d1) / 2 of a test set; 0 is perfect."""
  return (summary["abs_rel"] + 1 - summary["d1"]) / 2


def judge(
  clean: Summary, found: Mapping[int, Summary], baseline: Mapping[int, Summary] | None = None
) -> Judgement:
  """What a corruption does to a network.

  Args:
    clean: of the network without corruption.
    found: {severity: summary} of the network.
    baseline: {severity: summary} of another network, of the same severities.
  """
  errors = {severity: dee(summary) for severity, summary in found.items()}
  metrics = {name: float(np.mean([s[name] for s in found.values()])) for name in METRICS}
  kept = 1 - dee(clean)
  total = sum(dee(baseline[severity]) for severity in found) if baseline else 0.0
  mean_dee = float(np.mean(list(errors.values())))
  return Judgement(
    metrics,
    errors,
    mean_dee,
    100 * (1 - mean_dee) / kept if kept > 0 else NAN,
    100 * sum(errors.values()) / total if total > 0 else NAN,
  )


def mean(percent: Iterable[float]) -> float:
  """mCE of the CE, and mRR of the RR, of all corruptions."""
  return float(np.mean(list(percent)))
