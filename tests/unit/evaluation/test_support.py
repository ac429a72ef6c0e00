import numpy as np
import pytest

from evaluation.cohorts import panel_of
from histoweave.errors import InputError
from histoweave.evaluation.support import choose_horizons, split_times


def test_horizons_are_the_wanted_ones_or_all():
    assert choose_horizons(np.array([365.0, 730]), ()) == [365, 730]
    assert choose_horizons(np.array([365.0, 730]), (730,)) == [730]
    with pytest.raises(
        InputError, match="horizons_days: no model predicts survival at 500 days. Take one of .* 365, 730"
    ):
        choose_horizons(np.array([365.0, 730]), (500,))


def test_horizons_beyond_follow_up_are_named_with_the_reason():
    _, _, (model,) = panel_of(0)
    known, reasons = split_times(model, [365, 3600, 9000], min_at_risk=10)
    assert known == [365]
    assert "day 3600" in reasons[3600]
    assert "follow-up of the training part ends before day 9000 in 6 folds (first: repeat 0, fold 0)" == reasons[9000]


def test_too_few_patients_at_risk():
    panel, _, (model,) = panel_of(0)
    beyond = int((panel.time > 365).sum())
    assert split_times(model, [365], min_at_risk=beyond)[0] == [365]
    assert split_times(model, [365], min_at_risk=beyond + 1)[1] == {
        365: f"{beyond} patients are followed beyond day 365; {beyond + 1} are needed"
    }
