import pandas as pd
import pytest
from unit.report.fake_run import cohort, config, filled

from histoweave.formats import evaluation
from histoweave.formats.report import read_results
from histoweave.plots.atlas import FigureSettings, draw_all
from histoweave.report.external import external_section
from histoweave.report.performance import subgroups_section
from histoweave.report.run import Run

SIZE = {"n_patients": 30, "n_events": 12}


@pytest.fixture
def tables():
    rows = [
        {"cohort": "b", "model": "", "metric": "event_rate", "estimate": 0.4},
        {"cohort": "b", "model": "", "metric": "median_follow_up_days", "estimate": 900.0},
        {"cohort": "b", "model": "m", "metric": "c_index", "estimate": 0.66, "lower": 0.55, "upper": 0.77},
        {"cohort": "b", "model": "m", "metric": "observed_expected", "horizon_days": 365.0, "estimate": 1.3},
        {"cohort": "b", "model": "m", "metric": "log_rank_p", "estimate": 0.0004},
    ]
    compared = {"cohort": "b", "model_a": "m", "model_b": "n", "metric": "c_index", "difference": 0.1, "lower": 0.02}
    compared |= {"upper": 0.2, "p_value": 0.01, "p_holm": 0.01, "verdict": "a better"}
    at_sites = [{"kind": "site", "site": "A"}, {"kind": "another site"}]
    sites = [row | {"model": "m", "metric": "c_index", "estimate": 0.6, "lower": 0.5, "upper": 0.7} for row in at_sites]
    steps = [{"cohort": "b", "model": "m", "group": g, "time_days": t, "survival": 1 - t / s, "lower": 0, "upper": 1}
             for g, s in (("low", 2000), ("high", 1000)) for t in (100.0, 500.0)]  # fmt: skip
    at_risk = [{"cohort": "b", "model": "m", "group": g, "time_days": 0.0, "at_risk": 15.0} for g in ("low", "high")]
    groups = [{"cohort": "b", "model": "m", "horizon_days": 365.0, "group": k, "predicted": k / 5, "observed": k / 4,
               "lower": 0.1, "upper": 0.9} for k in (1, 2)]  # fmt: skip
    return {
        "external": filled(evaluation.EXTERNAL, [row | SIZE for row in rows]),
        "external_comparisons": filled(evaluation.EXTERNAL_COMPARISONS, [compared]),
        "external_calibration": filled(evaluation.EXTERNAL_CALIBRATION, groups),
        "external_curves": filled(evaluation.EXTERNAL_CURVES, steps),
        "external_at_risk": filled(evaluation.EXTERNAL_AT_RISK, at_risk),
        "sites": filled(evaluation.SITES, sites),
        "cohort": cohort(),
    }


def run_of(tables, tmp_path, **changes):
    full = config()
    full["inputs"]["cohorts"] = changes.get("cohorts", {"a": "train", "b": "external"})
    full["survival"]["one_site_out"]["models"] = changes.get("models", ["m"])
    return Run(tables, read_results(tmp_path, []).files, full, {}, {}, {})


def texts(section, name):
    (table,) = (block for block in section.blocks if getattr(block, "name", "") == name)
    return [[cell.text for cell in row] for row in table.rows]


def test_cohorts_metrics_and_comparisons_stand_in_the_section(tables, tmp_path):
    section = external_section(run_of(tables, tmp_path))
    assert texts(section, "external-cohorts") == [["b", "30", "12", "0.400", "900"]]
    (row,) = texts(section, "external-summary")
    assert row == ["b", "m", "0.660 (0.550 to 0.770)", "1.300 (no interval)", "< 0.001", "30"]
    assert texts(section, "external-comparisons")[0][-1] == "m better"
    assert len(texts(section, "external")) == 5


def test_without_an_external_cohort_one_sentence_says_so(tables, tmp_path):
    section = external_section(run_of(tables | {"external": None}, tmp_path, cohorts={}))
    assert [block.text[:32] for block in section.blocks] == ["No external cohort was given (in"]


def test_sites_stand_in_heterogeneity_only_where_models_were_trained_without_them(tables, tmp_path):
    section = subgroups_section(run_of(tables, tmp_path))
    assert [row[:3] for row in texts(section, "sites")] == [
        ["m", "A", "0.600 (0.500 to 0.700)"], ["m", "another site", "0.600 (0.500 to 0.700)"],
    ]  # fmt: skip
    without = subgroups_section(run_of(tables, tmp_path, models=[]))
    assert "No model was trained anew without a site" in " ".join(getattr(b, "text", "") for b in without.blocks)


def test_their_figures_are_drawn_with_words(tables):
    settings = FigureSettings(modules_shown=8, reference_model="n", main_model="unknown")
    drawn = {one.name: one for one in draw_all(tables, settings, models=("m",), slides={})}
    for name in ("sites", "external", "external_calibration", "external_kaplan_meier__b"):
        assert drawn[name].svg, drawn[name].alt
    assert "another site 0.60 (0.50 to 0.70)" in drawn["sites"].alt
    none = pd.DataFrame(columns=list(evaluation.EXTERNAL_CALIBRATION.columns))
    empty = {one.name: one for one in draw_all(tables | {"external_calibration": none}, settings, models=(), slides={})}
    assert empty["external_calibration"].alt == "Not drawn: the table 'external_calibration' is empty."
