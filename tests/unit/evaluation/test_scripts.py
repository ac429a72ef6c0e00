"""The scripts from file to file: columns, bytes that do not depend on the number of workers, errors."""

import importlib.util
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from evaluation.cohorts import cohort_frame, folds_frame, risk_frame
from histoweave.errors import InputError
from histoweave.formats.evaluation import (
    ADDED_VALUE,
    AT_RISK,
    AUDITS,
    CALIBRATION,
    COMPARISONS,
    D_CALIBRATION,
    DECISION,
    DRAWS,
    EXTERNAL,
    EXTERNAL_CALIBRATION,
    EXTERNAL_COMPARISONS,
    EXTERNAL_CURVES,
    FOLD_METRICS,
    HAZARD_RATIOS,
    KAPLAN_MEIER,
    LOGRANK,
    METRICS,
    SITES,
    SUBGROUPS,
)  # fmt: skip
from histoweave.formats.explained import PREDICTION
from histoweave.formats.ledger import LEDGER
from histoweave.formats.slides import FEATURES
from histoweave.formats.survival import COHORT, COHORTS, EXPRESSION, FOLDS, RISK

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts/evaluation"
SETTINGS = {
    "metrics": {"horizons_days": [365, 730], "min_at_risk": 5, "tau_quantile": 0.9},
    "bootstrap": {"draws": 40, "confidence": 0.95},
    "compare": {"baselines": ["cox_clinical"], "pairs": []},
    "curves": {"at_risk_every_days": 365},
    "calibration": {"groups": 3, "bins": 5},
    "decision": {"lowest": 0.1, "highest": 0.5, "steps": 3},
    "hazards": {"adjust_for": []},
    "subgroups": {"min_events": 5, "age_bands": [60]},
    "audits": {"read_slide_features": True, "permutations": 20},
}


def run(name, *arguments, settings=()):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(
        [*map(str, arguments), "--settings", json.dumps({key: SETTINGS[key] for key in settings}), "--seed", "5"]
    )


@pytest.fixture
def results(tmp_path):
    generator = np.random.default_rng(2)
    cohort, score = cohort_frame(generator, 90)
    folds = folds_frame(cohort["patient"].to_numpy(), generator)
    COHORT.write(cohort, tmp_path / "cohort.parquet", provenance={})
    FOLDS.write(folds, tmp_path / "folds.parquet", provenance={})
    for model, left_out in (("cox_clinical", ""), ("abmil_wsi", "P0003")):
        risk = risk_frame(cohort, folds, score, generator)
        RISK.write(risk[risk["patient"] != left_out], tmp_path / model / "risk.parquet", provenance={})
    return tmp_path


def inputs(results):
    risks = [results / model / "risk.parquet" for model in ("abmil_wsi", "cox_clinical")]
    return ["--cohort", results / "cohort.parquet", "--folds", results / "folds.parquet", "--risks", *risks]


def score(results, out, threads=1):
    names = ("metrics", "fold_metrics", "draws", "ledger")
    to = [part for name in names for part in (f"--{name.replace('_', '-')}", out / f"{name}.parquet")]
    run("score_models", *inputs(results), "--threads", threads, *to, settings=["metrics", "bootstrap", "calibration"])
    return [out / f"{name}.parquet" for name in names]


def test_scores_do_not_depend_on_the_number_of_workers(results):
    one, two = score(results, results / "one", 1), score(results, results / "two", 2)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_scores_are_written_with_their_ledger(results):
    metrics, folds, draws, ledger = score(results, results / "out")
    table = METRICS.read(metrics)
    assert list(dict.fromkeys(table["model"])) == ["kaplan_meier", "abmil_wsi", "cox_clinical"]
    assert table.groupby("model")["n_patients"].first().to_dict() == {
        "kaplan_meier": 90, "abmil_wsi": 89, "cox_clinical": 90,
    }  # fmt: skip
    assert set(FOLD_METRICS.read(folds)["model"]) == set(DRAWS.read(draws)["model"]) == {"abmil_wsi", "cox_clinical"}
    left_out = LEDGER.read(ledger)
    assert left_out[["context", "item"]].to_numpy().tolist() == [["abmil_wsi", "P0003"]]
    assert METRICS.metadata(metrics)["provenance"]["step"] == "evaluation/score_models"


def test_comparisons_are_made_on_common_patients(results):
    run(
        "compare_models", *inputs(results), "--out", results / "c.parquet", settings=["metrics", "bootstrap", "compare"]
    )
    table = COMPARISONS.read(results / "c.parquet")
    assert set(zip(table["model_a"], table["model_b"], strict=True)) == {("abmil_wsi", "cox_clinical")}
    assert table["n_patients"].unique().tolist() == [89]


def test_curves_are_written(results):
    to = [
        "--kaplan-meier",
        results / "k.parquet",
        "--at-risk",
        results / "a.parquet",
        "--logrank",
        results / "l.parquet",
    ]
    run("estimate_curves", *inputs(results), *to, settings=["curves", "bootstrap"])
    groups = KAPLAN_MEIER.read(results / "k.parquet")[["model", "group"]].drop_duplicates()
    assert len(groups) == 1 + 2 * 2
    assert set(AT_RISK.read(results / "a.parquet")["group"]) == {"all", "low", "high"}
    assert LOGRANK.read(results / "l.parquet")["model"].tolist() == ["abmil_wsi", "cox_clinical"]


def outputs(results, *names):
    paths = {f"--{name.replace('_', '-')}": results / f"{name}.parquet" for name in names}
    return [part for pair in paths.items() for part in pair]


def test_calibration_and_decision_curves_are_written(results):
    to = outputs(results, "calibration", "d_calibration", "decision")
    run("check_calibration", *inputs(results), *to, settings=["metrics", "bootstrap", "calibration", "decision"])
    assert len(CALIBRATION.read(results / "calibration.parquet")) == 2 * 2 * 3  # models, horizons, groups
    assert len(D_CALIBRATION.read(results / "d_calibration.parquet")) == 2 * 5
    models = set(DECISION.read(results / "decision.parquet")["model"])
    assert models == {"abmil_wsi", "cox_clinical", "treat all", "treat none"}


def test_hazards_added_value_and_subgroups_are_written(results):
    to = outputs(results, "hazard_ratios", "added_value", "subgroups")
    run("estimate_hazards", *inputs(results), *to, settings=["bootstrap", "hazards", "subgroups"])
    assert HAZARD_RATIOS.read(results / "hazard_ratios.parquet")["adjusted_for"].tolist() == ["", "age + sex"] * 2
    assert ADDED_VALUE.read(results / "added_value.parquet")["n_patients"].tolist() == [89, 90]
    groups = SUBGROUPS.read(results / "subgroups.parquet")
    assert set(groups["variable"]) == {"site", "all but site", "age", "sex"}


def test_audits_read_features_and_expression(results):
    cohort = pd.read_parquet(results / "cohort.parquet")
    cohort["slides"] = [f"S{number % 4} S{number % 4 + 4}" for number in range(90)]  # the site's own two slides
    COHORT.write(cohort, results / "cohort.parquet", provenance={})
    generator = np.random.default_rng(0)
    for number in range(8):
        data = ad.AnnData(np.full((number + 1, 4), np.eye(4, dtype=np.float32)[number % 4]))
        data.obsm["spatial"] = np.zeros((number + 1, 2))
        FEATURES.write(data, results / f"features/S{number}.h5ad", provenance={})
    profiles = ad.AnnData(generator.poisson(5, (90, 8)).astype(np.float32), uns={"scale": "counts"})
    profiles.obs_names = cohort["patient"]
    EXPRESSION.write(profiles, results / "expression.h5ad", provenance={})
    more = ["--features", results / "features", "--expression", results / "expression.h5ad"]
    run("audit_models", *inputs(results), *more, "--out", results / "audits.parquet", settings=["bootstrap", "audits"])
    table = AUDITS.read(results / "audits.parquet")
    probes = table[table["check"] == "site probe"].set_index("subject")
    assert probes.loc["slide features", "verdict"] == "look"
    assert probes.loc["slide features", "value"] > 0.9
    assert probes.loc["expression", "value"] < 0.7
    served = table[table["check"] == "patients in = out"].set_index("subject")
    assert served["verdict"].to_dict() == {"abmil_wsi": "look", "cox_clinical": "ok"}


def table_of(path, **where):
    table = pd.read_parquet(path)
    for column, value in where.items():
        table = table[table[column] == value]
    return table


@pytest.fixture
def odd(results):
    """One site, a fold without events, and a model that says the same of everybody."""
    cohort, folds = pd.read_parquet(results / "cohort.parquet"), pd.read_parquet(results / "folds.parquet")
    silent = folds[(folds["repeat"] == 0) & (folds["fold"] == 0) & (folds["role"] == "test")]["patient"]
    event = np.where(cohort["patient"].isin(silent), 0, cohort["event"])
    COHORT.write(cohort.assign(event=event, site="A"), results / "cohort.parquet", provenance={})
    risk = pd.read_parquet(results / "abmil_wsi/risk.parquet")
    same = {name: 0.5 for name in risk if name.startswith("survival_")}
    RISK.write(risk.assign(risk=1.0, train_median=1.0, **same), results / "abmil_wsi/risk.parquet", provenance={})
    return results


def test_odd_input_is_scored_with_reasons(odd):
    metrics, folds, *_ = score(odd, odd / "out")
    constant = table_of(metrics, model="abmil_wsi").set_index("metric")
    assert constant.loc[["c_index", "c_index_ipcw", "auc"], "estimate"].tolist() == pytest.approx([0.5] * 4)
    assert constant.loc["calibration_slope", "estimate"].isna().all()
    assert constant.loc["calibration_slope", "reason"].str.startswith("the predicted risks do not differ").all()
    silent = table_of(folds, model="cox_clinical", repeat=0, fold=0, metric="c_index").iloc[0]
    assert np.isnan(silent["estimate"])
    assert (silent["n_events"], silent["reason"]) == (0, "no comparable pair of patients in this fold")
    assert 0.5 < table_of(metrics, model="cox_clinical", metric="c_index")["estimate"].item() < 1


def test_odd_input_passes_through_the_other_steps_with_reasons(odd):
    given = inputs(odd)
    run("compare_models", *given, "--out", odd / "c.parquet", settings=list(SETTINGS)[:3])
    assert set(table_of(odd / "c.parquet", metric="c_index")["verdict"]) == {"b better"}
    to = outputs(odd, "kaplan_meier", "at_risk", "logrank")
    run("estimate_curves", *given, *to, settings=["curves", "bootstrap"])
    reason = table_of(odd / "logrank.parquet", model="abmil_wsi")["reason"].item()
    assert reason == "all patients are in the low group"
    to = outputs(odd, "hazard_ratios", "added_value", "subgroups")
    run("estimate_hazards", *given, *to, settings=["bootstrap", "hazards", "subgroups"])
    for name in ("hazard_ratios", "added_value"):
        reasons = table_of(odd / f"{name}.parquet", model="abmil_wsi")["reason"]
        assert reasons.str.startswith("risks that do not differ").all()
    assert "site" not in set(table_of(odd / "subgroups.parquet")["variable"])
    to = outputs(odd, "calibration", "d_calibration", "decision")
    run("check_calibration", *given, *to, settings=["metrics", "bootstrap", "calibration", "decision"])
    assert table_of(odd / "calibration.parquet", model="abmil_wsi", horizon_days=365)["predicted"].tolist() == [0.5]
    run("audit_models", *given, "--out", odd / "audits.parquet", settings=["bootstrap", "audits"])
    audits = table_of(odd / "audits.parquet").set_index(["check", "subject"])["sentence"].to_dict()
    assert audits["sites", "folds"].startswith("One site only")
    assert audits["silent folds", "folds"].startswith("1 of 6 test parts hold no event")
    assert audits["site probe", "risk of cox_clinical"] == "Not probed: no test part holds more than one site."


VALIDATION = ["metrics", "bootstrap", "calibration", "compare", "curves"]


def test_external_patients_of_the_run_are_scored_and_models_compared_on_them(results):
    generator = np.random.default_rng(4)
    training = COHORT.read(results / "cohort.parquet").assign(cohort="here", role="train")
    other, score = cohort_frame(generator, 80)
    other = other.assign(patient="X" + other["patient"], cohort="there", role="external")
    COHORTS.write(pd.concat([training, other]), results / "everybody.parquet", provenance={})
    one_fold = pd.DataFrame({"patient": other["patient"], "repeat": 0, "fold": 0, "role": "test"})
    models, given = ("abmil_wsi", "cox_clinical"), ["--cohort", results / "cohort.parquet", "--names", "there", "there"]
    for model, noise in zip(models, (0.2, 3.0), strict=True):
        risk = risk_frame(other, one_fold, score, generator, noise=noise)
        RISK.write(risk.assign(train_median=0.5), results / f"external/{model}/risk.parquet", provenance={})
    given += ["--models", *models, "--predictions", *(results / f"external/{m}/risk.parquet" for m in models)]
    given += ["--patients", *[results / "everybody.parquet"] * 2]
    to = outputs(results, "metrics", "calibration", "comparisons", "curves", "at_risk", "ledger")
    run("validate_models", *given, *to, settings=VALIDATION)
    table = EXTERNAL.read(results / "metrics.parquet")
    assert table[table["metric"] == "c_index"]["n_patients"].tolist() == [80, 80]
    (row,) = EXTERNAL_COMPARISONS.read(results / "comparisons.parquet").query("metric == 'c_index'").to_dict("records")
    assert (row["cohort"], row["model_a"], row["model_b"], row["verdict"]) == (*("there", *models), "a better")
    curves = EXTERNAL_CURVES.read(results / "curves.parquet").groupby(["model", "group"])["survival"].min()
    assert curves["abmil_wsi", "high"] < curves["abmil_wsi", "low"]


def test_one_name_for_two_external_cohorts_is_refused(results):
    given = ["--cohort", results / "cohort.parquet", "--names", "x", "x", "--models", "a", "b", "--predictions"]
    (results / "one.tsv").write_text("patient\ttime_days\tevent\nX1\t10\t1\n")
    RISK.write(RISK.empty(), results / "p.parquet", provenance={})
    given += [results / "p.parquet"] * 2 + ["--patients", results / "one.tsv", results / "two.tsv"]
    to = outputs(results, "metrics", "calibration", "comparisons", "curves", "at_risk", "ledger")
    with pytest.raises(InputError, match="external cohort 'x' has two tables of patients"):
        run("validate_models", *given, *to, settings=VALIDATION)


def test_models_trained_without_a_site_are_scored_there(results):
    cohort = COHORT.read(results / "cohort.parquet").sort_values("patient")
    sites = sorted(cohort["site"].unique())
    parts = [
        pd.DataFrame({"patient": cohort["patient"], "repeat": 0, "fold": fold})
        .assign(role=np.where(cohort["site"] == site, "test", "train"))
        for fold, site in enumerate(sites)
    ]  # fmt: skip
    folds = pd.concat(parts, ignore_index=True)
    FOLDS.write(folds, results / "out/folds.parquet", provenance={})
    score = -np.log(cohort["time_days"].to_numpy())
    risk = risk_frame(cohort, folds, score, np.random.default_rng(1), noise=1.0)
    RISK.write(risk[risk["patient"] != cohort["patient"].iloc[0]], results / "out/ghanet/risk.parquet", provenance={})
    given = ["--cohort", results / "cohort.parquet", "--folds", results / "out/folds.parquet"]
    given += ["--risks", results / "out/ghanet/risk.parquet", *outputs(results, "out", "ledger")]
    run("score_sites", *given, settings=["metrics", "bootstrap", "calibration"])
    table = SITES.read(results / "out.parquet").query("metric == 'c_index'").set_index("kind")
    assert table.loc["site", "site"].tolist() == sites
    assert table.loc["site", "n_patients"].sum() == table.loc["all sites", "n_patients"] == len(cohort) - 1
    assert (
        table.loc["another site", "lower"] <= table.loc["mean of sites", "lower"] < table.loc["site", "estimate"].max()
    )
    assert LEDGER.read(results / "ledger.parquet")["context"].tolist() == ["one site out: ghanet"]


def test_an_external_cohort_is_scored(results):
    generator = np.random.default_rng(4)
    other, score = cohort_frame(generator, 80)
    other["patient"] = "X" + other["patient"]
    other[["patient", "time_days", "event"]].to_csv(results / "other.tsv", sep="\t", index=False)
    prediction = pd.DataFrame({"patient": other["patient"], "risk": score, "survival_365": np.exp(-np.exp(score) / 4)})
    prediction["survival_730"] = prediction["survival_365"] ** 2
    filled = dict.fromkeys(PREDICTION.columns.keys() - prediction.columns, 0.0)
    PREDICTION.write(prediction.assign(**filled).iloc[1:], results / "prediction.parquet", provenance={})
    given = ["--cohort", results / "cohort.parquet", "--names", "other", "--models", "abmil_wsi"]
    given += ["--predictions", results / "prediction.parquet", "--patients", results / "other.tsv"]
    to = outputs(results, "metrics", "calibration", "comparisons", "curves", "at_risk", "ledger")
    run("validate_models", *given, *to, settings=VALIDATION)
    table = EXTERNAL.read(results / "metrics.parquet").set_index(["model", "metric"]).sort_index()
    assert table.loc[("abmil_wsi", "c_index"), "estimate"].item() > 0.6
    assert set(table.loc["kaplan_meier"].index) == {"brier", "ibs"}
    assert table.loc[("", "event_rate"), "estimate"].item() == pytest.approx(other["event"].mean())
    assert set(table["cohort"]) == {"other"}
    assert not len(EXTERNAL_COMPARISONS.read(results / "comparisons.parquet"))
    assert EXTERNAL_CALIBRATION.read(results / "calibration.parquet")["horizon_days"].unique().tolist() == [365, 730]
    assert LEDGER.read(results / "ledger.parquet")["item"].tolist() == ["XP0000"]


def test_a_risk_that_is_no_number_ends_the_script_with_its_name(results):
    path = results / "abmil_wsi/risk.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "risk"] = np.nan
    RISK.write(table, path, provenance={})
    with pytest.raises(InputError, match=r"survival/abmil_wsi/risk.parquet: 1 row\(s\) have a risk"):
        score(results, results / "out")
