import pandas as pd

from histoweave.plots.decision import decision_curves
from histoweave.plots.style import alternative_text

CURVES = pd.DataFrame(
    [
        (model, 365.0, threshold, benefit)
        for model, benefits in {
            "useful": (0.3, 0.2),
            "useless": (0.1, -0.1),
            "treat all": (0.2, -5.0),
            "treat none": (0.0, 0.0),
        }.items()
        for threshold, benefit in zip((0.1, 0.5), benefits, strict=True)
    ],
    columns=["model", "horizon_days", "threshold", "net_benefit"],
)


def test_words_tell_where_a_model_beats_both_policies():
    text = alternative_text(decision_curves(CURVES))
    assert "useful is above both policies at 100 % of thresholds" in text
    assert "useless is above both policies at 0 % of thresholds" in text
    assert "treat all is" not in text


def test_the_fall_of_treating_all_does_not_set_the_scale():
    low, high = decision_curves(CURVES).axes[0].get_ylim()
    assert -0.2 < low < 0
    assert high > 0.3


def test_a_panel_per_horizon_with_every_policy():
    both = pd.concat([CURVES, CURVES.assign(horizon_days=730.0)])
    figure = decision_curves(both)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["365 days", "730 days"]
    assert all(len(axes.lines) == 4 for axes in figure.axes)
    assert len(figure.legends[0].texts) == 4
