"""Agreement with scikit-survival, torchsurv and lifelines on ties and heavy censoring, to 1e-10 in what they share.

torchsurv makes some numbers of its own (weights of 1, quotients of counts) in torch's default precision, which is
single; here it is double. Its censoring curve is single whatever one sets, so it is given ours, equal to
scikit-survival's (test_censoring). Not shared: lifelines alone compares two events on one day.
"""

import numpy as np
import pytest
import torch
from lifelines.utils import concordance_index
from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv
from torchsurv.metrics.auc import Auc
from torchsurv.metrics.brier_score import BrierScore
from torchsurv.metrics.cindex import ConcordanceIndex

from evaluation.cohorts import survival_times
from histoweave.evaluation.censoring import censoring_curve
from histoweave.evaluation.panel import Fold, FoldPrediction
from histoweave.evaluation.scores import NO_HORIZON, score_fold

DAYS = np.array([200.0, 400.0, 600.0])


def fold(seed, *, censoring_days, grain):
    """Test part of 150, training part of 300, times on a grid of `grain` days, risks on a grid of 0.25."""
    generator = np.random.default_rng(seed)
    score = generator.standard_normal(450)
    time, event = survival_times(generator, score, censoring_days=censoring_days, grain=grain)
    risk = np.round((score + generator.standard_normal(450)) * 4) / 4
    test = (np.arange(450) < 150) & (time < time[150:].max())  # scikit-survival refuses later times
    survival = np.exp(-DAYS / 1500 * np.exp(risk[test, None]))
    made = Fold(0, 0, np.flatnonzero(test), time[test], event[test], time[150:], event[150:])
    return FoldPrediction(made, risk[test], survival, 0.0)


CASES = [(0, 4000.0, 1.0), (1, 1000.0, 1.0), (2, 1000.0, 50.0), (3, 2000.0, 100.0)]


@pytest.fixture(scope="module", params=CASES, ids=["light", "heavy", "heavy, ties", "many ties"])
def case(request):
    seed, censoring_days, grain = request.param
    part = fold(seed, censoring_days=censoring_days, grain=grain)
    weights = np.ones((1, len(part.risk)))
    scores = score_fold(part, weights, times_days=DAYS, horizons=DAYS, grid=DAYS, tau_quantile=0.9)
    return part, {key: float(sums.ratio()[0]) for key, sums in scores.sums.items()}, scores.tau_days


@pytest.fixture(autouse=True)
def double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def tensors(part):
    curve = censoring_curve(part.fold.train_time, part.fold.train_event)
    arrays = (part.risk, part.fold.event, part.fold.time, 1 / curve.at(part.fold.time), 1 / curve.at(DAYS), DAYS)
    return map(torch.tensor, arrays)


def test_harrell(case):
    part, found, _ = case
    risk, event, time, *_ = tensors(part)
    expected = concordance_index_censored(part.fold.event, part.fold.time, part.risk)[0]
    assert found["c_index", NO_HORIZON] == pytest.approx(expected, abs=1e-12)
    assert found["c_index", NO_HORIZON] == pytest.approx(ConcordanceIndex()(risk, event, time).item(), abs=1e-10)


def test_harrell_without_tied_times():
    """lifelines counts two events on one day as comparable; without such ties it agrees."""
    part = fold(4, censoring_days=3000.0, grain=1e-6)
    scores = score_fold(part, np.ones((1, len(part.risk))), times_days=DAYS, horizons=[], grid=[], tau_quantile=0.9)
    expected = concordance_index(part.fold.time, -part.risk, part.fold.event)
    assert scores.sums["c_index", NO_HORIZON].ratio()[0] == pytest.approx(expected, abs=1e-10)


def structured(part):
    fold = part.fold
    return Surv.from_arrays(fold.train_event, fold.train_time), Surv.from_arrays(fold.event, fold.time)


def test_uno(case):
    part, found, tau = case
    expected = concordance_index_ipcw(*structured(part), part.risk, tau=tau)[0]
    assert found["c_index_ipcw", NO_HORIZON] == pytest.approx(expected, abs=1e-10)
    risk, event, time, weight, *_ = tensors(part)
    theirs = ConcordanceIndex()(risk, event, time, weight=weight, tmax=torch.tensor(tau)).item()
    assert found["c_index_ipcw", NO_HORIZON] == pytest.approx(theirs, abs=1e-10)


def test_auc(case):
    part, found, _ = case
    risk, event, time, weight, weight_then, days = tensors(part)
    expected, _ = cumulative_dynamic_auc(*structured(part), part.risk, DAYS)
    ours = [found["auc", day] for day in DAYS]
    theirs = Auc()(risk, event, time, auc_type="cumulative", weight=weight, new_time=days, weight_new_time=weight_then)
    assert ours == pytest.approx(expected, abs=1e-10)
    assert ours == pytest.approx(theirs.numpy(), abs=1e-10)


def test_brier(case):
    part, found, _ = case
    _, event, time, weight, weight_then, days = tensors(part)
    _, expected = brier_score(*structured(part), part.survival, DAYS)
    ours = [found["brier", day] for day in DAYS]
    survival = torch.tensor(part.survival)
    theirs = BrierScore()(survival, event, time, new_time=days, weight=weight, weight_new_time=weight_then)
    assert ours == pytest.approx(expected, abs=1e-10)
    assert ours == pytest.approx(theirs.numpy(), abs=1e-10)
