import numpy as np
import pandas as pd

from histoweave.plots.kaplan_meier import kaplan_meier, marked_times
from histoweave.plots.style import alternative_text


def tables():
    curves = pd.DataFrame(
        {
            "group": ["low", "low", "high", "high"],
            "time_days": [100.0, 400.0, 50.0, 200.0],
            "survival": [0.9, 0.8, 0.7, 0.4],
            "lower": [0.8, 0.7, 0.5, 0.2],
            "upper": [1.0, 0.9, 0.9, 0.6],
        }
    )
    at_risk = pd.DataFrame(
        {"group": ["low", "low", "high"], "time_days": [0.0, 365.25, 0.0], "at_risk": [10.0, 7.4, 9.0]}
    )
    return curves, at_risk


def test_curve_starts_at_one_and_passes_through_every_step():
    figure = kaplan_meier(*tables(), note="")
    line = figure.axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 100, 400])
    np.testing.assert_array_equal(line.get_ydata(), [1, 0.9, 0.8])
    assert line.get_drawstyle() == "steps-post"


def test_numbers_at_risk_stand_under_their_times():
    figure = kaplan_meier(*tables(), note="")
    found = {(text.get_position(), text.get_text()) for text in figure.axes[1].texts}
    assert found == {((0.0, 0), "10"), ((365.25, 0), "7"), ((0.0, 1), "9"), ((365.25, 1), "")}
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["0", "1"]


def test_words_tell_the_medians_and_the_note():
    text = alternative_text(kaplan_meier(*tables(), note="log-rank p = 0.010"))
    assert "group low (10 patients at the start, median survival not reached)" in text
    assert "group high (9 patients at the start, median survival 200 days)" in text
    assert text.endswith("log-rank p = 0.010")


def test_at_most_eight_times_are_marked():
    times = marked_times(pd.Series(np.repeat(np.arange(20.0), 2)))
    assert len(times) <= 8
    assert times[0] == 0
    np.testing.assert_array_equal(np.diff(times), np.diff(times)[0])
