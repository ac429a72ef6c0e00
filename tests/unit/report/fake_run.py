"""A small results folder that looks like a finished run, for the tests of the report."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from histoweave.formats import explained, genegraph, slides, survival
from histoweave.formats.evaluation import AT_RISK, COMPARISONS, KAPLAN_MEIER, LOGRANK, METRICS
from histoweave.formats.ledger import Account

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.config import check_config  # noqa: E402, the rules' own code lies beside the rules

PATIENT, SLIDE = "P", "T"  # what their names begin with
MODELS = ("cox_clinical", "abmil_wsi", "path_gptomic")
FROM = {"step": "test", "settings": {}, "seed": 1, "inputs": {"table": "abc"}}


def filled(kind, rows):
    """Table of `kind` from dicts: what they do not give is "" or NaN."""
    blank = {"str": "", "int": 0, "float": np.nan, "float32": np.nan, "bool": False}
    defaults = {name: blank[form] for name, form in kind.columns.items()}
    return pd.DataFrame([defaults | row for row in rows])


def cohort(n=40):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "patient": [f"{PATIENT}{i:03}" for i in range(n)],
            "site": [f"S{i % 4}" for i in range(n)],
            "time_days": rng.integers(30, 2500, n).astype(float),
            "event": rng.integers(0, 2, n),
            "has_slide": [True] * n,
            "has_expression": [i % 5 != 0 for i in range(n)],
            "slides": [f"{SLIDE}{i:03}" for i in range(n)],
            "age": rng.normal(60, 9, n),
            "sex": rng.choice(["female", "male"], n),
        }
    )


def folds(patients):
    sites = patients["site"].str[1:].astype(int)
    rows = []
    for repeat in range(2):
        for fold in range(2):
            test = (sites + repeat) % 2 == fold
            role = np.where(test, "test", np.where(np.arange(len(patients)) % 7 == 0, "validation", "train"))
            rows.append(pd.DataFrame({"patient": patients["patient"], "repeat": repeat, "fold": fold, "role": role}))
    return pd.concat(rows, ignore_index=True)


def _survival(root, patients):
    survival.COHORT.write(patients, root / "survival/cohort.parquet", provenance=FROM)
    roles = folds(patients)
    survival.FOLDS.write(roles, root / "survival/folds.parquet", provenance=FROM)
    test = roles[roles["role"] == "test"].drop(columns="role")
    for model in MODELS:
        risk = test.assign(risk=np.linspace(-1, 1, len(test)), train_median=0.0)
        survival.RISK.write(risk, root / f"survival/{model}/risk.parquet", provenance=FROM)
    tiles = [
        {
            "patient": f"{PATIENT}00{i}",
            "slide": f"{SLIDE}00{i}",
            "x": 512.0 * x,
            "y": 512.0 * y,
            "tile": 4 * x + y,
            "case": case,
        }
        for i, case in enumerate(("highest", "median", "lowest"))
        for x in range(6)
        for y in range(4)
    ]
    ramp = np.linspace(0, 1, len(tiles))
    attention = filled(survival.ATTENTION, tiles).assign(attention=ramp, score=ramp)
    survival.ATTENTION.write(attention, root / "survival/abmil_wsi/attention.parquet", provenance=FROM)
    _explained(root / "survival/abmil_wsi")
    curve = [
        {"epoch": epoch, "part": part, "quantity": "loss", "value": 1 / (1 + epoch)}
        for epoch in range(5)
        for part in ("train", "validation")
    ]
    training = filled(survival.TRAINING, curve)
    survival.TRAINING.write(training, root / "survival/abmil_wsi/training.parquet", provenance=FROM)


def _explained(folder):
    rows = [
        {"kind": kind, "name": name, "fold": fold, "mean": 0.1, "mean_abs": 0.2, "share": share + fold / 100}
        for fold in (0, 1)
        for kind, name, share in (("gene", "GENE0001", 0.3), ("gene", "GENE0002", 0.2), ("tile_feature", "area", 0.4))
    ]
    explained.ATTRIBUTIONS.write(filled(explained.ATTRIBUTIONS, rows), folder / "attributions.parquet", provenance=FROM)
    rows = [{"check": "completeness", "subject": f"{PATIENT}00{i}", "value": i / 100} for i in range(3)]
    checks = filled(explained.CHECKS, rows)
    explained.CHECKS.write(checks, folder / "attribution_checks.parquet", provenance=FROM)


def _slides(root, patients):
    rows = [
        {"slide": slide, "patient": patient, "status": "ok", "n_tiles": 24, "mpp": 0.5, "tile_um": 256.0}
        | {"thumbnail_downsample": 32.0}
        for slide, patient in zip(patients["slides"], patients["patient"], strict=True)
    ]
    rows.append({"slide": f"{SLIDE}999", "patient": f"{PATIENT}999", "status": "failed", "reason": "cannot be opened"})
    slides.QC.write(filled(slides.QC, rows), root / "slides/qc.parquet", provenance=FROM)
    for slide in (f"{SLIDE}000", f"{SLIDE}001"):
        path = root / f"slides/thumbnails/{slide}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (128, 96), (220, 180, 200)).save(path)


def _genes(root):
    rng = np.random.default_rng(4)
    genes = [f"GENE{i:04}" for i in range(60)]
    module = np.arange(60) % 3
    frame = pd.DataFrame(rng.normal(size=(60, 4)), columns=[f"e{i}" for i in range(4)]).assign(gene=genes)
    genegraph.GENE_EMBEDDING.write(frame, root / "genegraph/gene_embedding.parquet", provenance=FROM)
    place = rng.normal(size=(60, 2)) + 5 * np.eye(3)[module][:, :2]
    modules = pd.DataFrame({"gene": genes, "module": module.astype(str), "x": place[:, 0], "y": place[:, 1]})
    genegraph.MODULES.write(modules, root / "genegraph/modules.parquet", provenance=FROM)
    values = {"musegnn": (0.9, 0.6, 0.2), "random_per_gene": (0.5, 0.8, 0.2)}
    quality = [
        {"method": method, "metric": metric, "value": value, "seeds": 1}
        for method, found in values.items()
        for metric, value in zip(("held_out_auc", "asw", "cgr"), found, strict=True)
    ]
    quality[0] |= {"lower": 0.85, "upper": 0.95}
    genegraph.METRICS.write(filled(genegraph.METRICS, quality), root / "genegraph/metrics.parquet", provenance=FROM)


def _evaluation(root):
    rows = [
        {"model": model, "metric": "c_index", "estimate": 0.6 + i / 20, "lower": 0.55 + i / 20, "upper": 0.66 + i / 20}
        for i, model in enumerate(MODELS)
    ]
    rows.append({"model": "abmil_wsi", "metric": "auc", "horizon_days": 1825.0, "reason": "no patient is at risk"})
    METRICS.write(filled(METRICS, rows), root / "evaluation/metrics.parquet", provenance=FROM)
    rows = [
        {"model_a": "abmil_wsi", "model_b": "cox_clinical", "metric": "c_index", "difference": 0.05, "lower": -0.01}
        | {"upper": 0.1, "p_value": 0.2, "p_holm": 0.4, "verdict": "within noise"},
        {"model_a": "cox_clinical", "model_b": "path_gptomic", "metric": "c_index", "difference": -0.1, "lower": -0.2}
        | {"upper": -0.02, "p_value": 0.0004, "p_holm": 0.001, "verdict": "path_gptomic is better"},
    ]
    COMPARISONS.write(filled(COMPARISONS, rows), root / "evaluation/comparisons.parquet", provenance=FROM)
    times = np.arange(100.0, 2000.0, 100.0)
    curves, at_risk = [], []
    for model in MODELS[:2]:
        for group, slope in (("low", 0.0002), ("high", 0.0004)):
            part = {"model": model, "group": group}
            curve = [{"time_days": t, "survival": 1 - slope * t, "lower": 0.9 - slope * t, "upper": 1.0} for t in times]
            curves += [part | step for step in curve]
            at_risk += [part | {"time_days": t, "at_risk": 20 - t / 200} for t in np.arange(0.0, 2001.0, 250.0)]
    KAPLAN_MEIER.write(filled(KAPLAN_MEIER, curves), root / "evaluation/kaplan_meier.parquet", provenance=FROM)
    AT_RISK.write(filled(AT_RISK, at_risk), root / "evaluation/at_risk.parquet", provenance=FROM)
    logrank = [{"model": "cox_clinical", "statistic": 9.1, "p_value": 0.0025}]
    LOGRANK.write(filled(LOGRANK, logrank), root / "evaluation/logrank.parquet", provenance=FROM)


def write_ledger_parts(root):
    account = Account("slides")
    account.items("slide", "all", n_in=41, n_out=40)
    account.leave_out("slide", "all", [f"{SLIDE}999"], "cannot be opened")
    account.write(root / "ledger/slides/find_tissue.b0001.parquet", provenance=FROM)
    account = Account("survival")
    account.items("patient", "cohort", n_in=42, n_out=40)
    account.leave_out("patient", "cohort", [f"{PATIENT}998", "P<b>&9"], "no follow-up time")
    account.write(root / "ledger/survival/make_cohort.parquet", provenance=FROM)


def make(root):
    patients = cohort()
    _survival(root, patients)
    _slides(root, patients)
    _genes(root)
    _evaluation(root)
    write_ledger_parts(root)
    return root


def config():
    """A whole config with the schema's defaults, as a rule gives it to the report."""
    given = {
        "inputs": {
            "slides": "slides.tsv",
            "patients": "patients.tsv",
            "datasets": "datasets.tsv",
            "covariates": {"age": "numeric", "sex": "category"},
            "endpoint": "OS",
        },
        "survival": {"models": {model: {"method": model} for model in MODELS}, "horizons_days": [365, 1825]},
    }
    return check_config(given, ROOT / "workflow/schemas/config.schema.yaml", source="test")
