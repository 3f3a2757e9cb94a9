"""DEE, CE and RR against the tables that RoboDepth published."""

import math

import numpy as np
import pytest

from bicross_jax.tasks.depth import robustness

# Of KITTI-C, https://github.com/ldkong1205/RoboDepth: mCE, mRR, DEE clean, DEE of each corruption.
BASELINE = "MonoDepth2 R18"
PUBLISHED = {
  BASELINE: "100.00 84.46 0.119 0.130 0.280 0.155 0.277 0.511 0.187 0.244 0.242 0.216 0.201 0.129"
  " 0.193 0.384 0.389 0.340 0.388 0.145 0.196",
  "MonoDepth2 R50": "113.43 80.59 0.117 0.127 0.294 0.155 0.287 0.492 0.233 0.427 0.392 0.277 0.208"
  " 0.130 0.198 0.409 0.403 0.368 0.425 0.155 0.211",
  "DIFFNet": "94.96 85.41 0.102 0.111 0.222 0.131 0.199 0.352 0.161 0.513 0.330 0.280 0.197 0.114"
  " 0.165 0.292 0.266 0.255 0.270 0.135 0.202",
  "MonoDepth2 R18, stereo": "117.69 79.05 0.123 0.133 0.348 0.161 0.305 0.515 0.234 0.390 0.332 0.264"
  " 0.209 0.135 0.200 0.492 0.509 0.463 0.493 0.144 0.194",
}
# Of CADepth there: AbsRel and d1 of severities 1 to 5 in the dark; DEE, and CE to the baseline's 0.280.
DARK = ((0.146, 0.806), (0.167, 0.757), (0.211, 0.649), (0.284, 0.500), (0.332, 0.431))


def _summary(dee):
  return {"abs_rel": 2 * dee - 0.2, "d1": 0.8}


@pytest.mark.parametrize("network", PUBLISHED)
def test_the_means_are_those_of_the_published_table(network):
  mce, mrr, clean, *found = map(float, PUBLISHED[network].split())
  baseline = list(map(float, PUBLISHED[BASELINE].split()))[3:]
  judged = [
    robustness.judge(_summary(clean), {1: _summary(x)}, {1: _summary(b)})
    for x, b in zip(found, baseline, strict=True)
  ]
  # the table has three digits: 0.0005 of 0.13 to 0.5 in every one of 18 numbers
  assert robustness.mean(j.ce for j in judged) == pytest.approx(mce, abs=0.1)
  assert robustness.mean(j.rr for j in judged) == pytest.approx(mrr, abs=0.06)


def test_severities_are_summed_before_networks_are_compared():
  found = {s: {"abs_rel": a, "d1": d} for s, (a, d) in enumerate(DARK, 1)}
  baseline = {s: _summary(x) for s, x in enumerate((0.18, 0.23, 0.28, 0.33, 0.38), 1)}
  judged = robustness.judge({"abs_rel": 0.107, "d1": 0.890}, found, baseline)
  assert judged.mean_dee == pytest.approx(0.300, abs=6e-4) and judged.ce == pytest.approx(
    107.1, abs=0.2
  )
  assert judged.metrics == pytest.approx({"abs_rel": 0.228, "d1": 0.629}, abs=6e-4)
  assert judged.dee[5] == pytest.approx((0.332 + 1 - 0.431) / 2)
  by_severity = [100 * judged.dee[s] / robustness.dee(baseline[s]) for s in found]
  assert judged.ce != pytest.approx(np.mean(by_severity), abs=0.1)  # no mean of quotients
  assert judged.rr == pytest.approx(100 * (1 - judged.mean_dee) / (1 - 0.1085))


def test_what_is_not_there_is_no_number():
  perfect, hopeless = {"abs_rel": 0.0, "d1": 1.0}, {"abs_rel": 1.2, "d1": 0.1}
  assert robustness.dee(perfect) == 0
  judged = robustness.judge(hopeless, {1: hopeless}, {1: perfect})
  assert math.isnan(judged.rr) and math.isnan(judged.ce)
  judged = robustness.judge(perfect, {2: perfect, 4: perfect})
  assert judged.rr == 100 and math.isnan(judged.ce) and list(judged.dee) == [2, 4]
  assert math.isnan(robustness.mean([float("nan"), 1.0]))
