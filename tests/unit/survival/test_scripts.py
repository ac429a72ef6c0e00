"""The stage's scripts one after the other on a small made-up cohort, and what they refuse."""

import importlib.util
import json
import pickle
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from unit.survival.people import make_patients

from histoweave import steps_training
from histoweave.errors import InputError
from histoweave.formats.bundle import read_folds, read_header
from histoweave.formats.explained import ATTRIBUTION_NULL, ATTRIBUTIONS, CHECKS, GROUP_EXPRESSION, PREDICTION
from histoweave.formats.slides import FEATURES, QC
from histoweave.formats.survival import ATTENTION, COHORT, FOLDS, RISK, TRAINING
from histoweave.survival import crossfit, registry
from histoweave.survival.interface import patients_of

ROOT = Path(__file__).resolve().parents[3]
N, HORIZONS = 60, ["200", "900"]
INPUTS = {
    "endpoint": None, "covariates": {"age": "numeric", "sex": "category"}, "alterations": None,
    "expression": {"path": "", "scale": "zscore"},
}  # fmt: skip


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"workflow/scripts/survival/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(part) for part in arguments])


def write_slide(folder, slide, bag, *, encoder_hash="h1"):
    data = ad.AnnData(bag, var=pd.DataFrame(index=[f"f{i}" for i in range(bag.shape[1])]))
    data.obsm["spatial"] = np.stack([np.arange(len(bag)) * 256.0, np.zeros(len(bag))], axis=1)
    data.uns |= {
        "encoder": "made_up", "encoder_hash": encoder_hash, "mpp": 0.5, "tile_um": 128.0, "tile_level0_px": 256.0,
    }  # fmt: skip
    FEATURES.write(data, folder / f"{slide}.h5ad", provenance={})


def write_inputs(folder):
    people = make_patients(N, seed=5, missing=[(3, "slide"), (7, "expression")])
    table = people.clinical.assign(patient=people.ids, time_days=people.time_days, event=people.event)
    table["site"] = [f"s{i % 7}" for i in range(N)]
    table.to_csv(folder / "patients.tsv", sep="\t", index=False)
    expression = pd.DataFrame(people.expression, index=people.ids, columns=people.genes).dropna()
    expression.to_parquet(folder / "expression.parquet")
    rows = []
    for name, bag in zip(people.ids, people.bags, strict=True):
        ok = bag is not None
        if ok:
            write_slide(folder / "features", f"S{name}", bag)
        rows.append({"slide": f"S{name}", "patient": name, "status": "ok" if ok else "empty", "reason": ""})
    qc = pd.DataFrame(rows)
    for column, kind in QC.columns.items():
        if column not in qc:
            qc[column] = "" if kind == "str" else 0
    QC.write(qc.assign(site=None), folder / "qc.parquet", provenance={})
    return people


def settings_of_schema(method, **changes):
    import sys

    sys.path.insert(0, str(ROOT / "workflow/rules"))
    from hwrules.config import fill_defaults, load_schema

    schema = load_schema(ROOT / "workflow/schemas/survival.schema.yaml")
    return json.dumps({**fill_defaults({}, schema)[method], **changes})


TRAIN = {
    "epochs": 2, "patience": 0, "selection": "loss", "learning_rate": 0.01, "weight_decay": 0.0, "clip_gradient": 1.0,
    "batch_patients": 32, "tiles_per_patient": 0, "tiles_in_memory": 4096, "sampling": "event_balanced",
    "mixed_precision": False,
}  # fmt: skip
MODELS = {
    "cox_clinical": {},
    "abmil_wsi": {"hidden": 8, "attention": 4, "training": TRAIN},
    "ghanet": {"hidden": 8, "heads": 2, "feed_forward": 8, "training": TRAIN},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    people = write_inputs(folder)
    inputs = INPUTS | {"expression": {"path": str(folder / "expression.parquet"), "scale": "zscore"}}
    script("assemble_cohort")(
        "--patients", folder / "patients.tsv", "--slides", folder / "qc.parquet", "--inputs", json.dumps(inputs),
        "--settings", '{"at_least": "any"}', "--out", folder / "cohort.parquet",
        "--expression", folder / "expression.h5ad", "--ledger", folder / "ledger.parquet",
    )  # fmt: skip
    folds = {
        "scheme": "site_preserved", "folds": 2, "repeats": 1, "validation_share": 0.25, "least_train_events": 5,
        "given": None,
    }  # fmt: skip
    script("split_folds")(
        "--cohort", folder / "cohort.parquet", "--settings", json.dumps(folds), "--out", folder / "folds.parquet"
    )
    groups = folder / "groups.gmt"
    groups.write_text("one\tx\tG0\tG1\tG2\ntwo\tx\tG3\tG4\tG5\ntiny\tx\tnowhere\n")
    for model, changes in MODELS.items():
        train(folder, model, changes)
    return folder, people


def groups_of(folder):
    path = str(folder / "groups.gmt")
    return json.dumps({"source": "gmt", "path": path, "least_genes": 2, "most_groups": 5})


def training_words(folder, model, changes):
    """Arguments that both scripts take that train."""
    return (
        "--cohort", folder / "cohort.parquet", "--folds", folder / "folds.parquet", "--features", folder / "features",
        "--expression", folder / "expression.h5ad", "--covariates", "age", "sex", "--groups", groups_of(folder),
        "--model", model, "--method", model, "--horizons", *HORIZONS, "--settings",
        settings_of_schema(model, **changes),
    )  # fmt: skip


def train(folder, model, changes, *more):
    out = folder / model
    out.mkdir(exist_ok=True)
    script("train_model")(
        *training_words(folder, model, changes), "--risk", out / "risk.parquet", "--training",
        out / "training.parquet", "--reconstruction", out / "reconstruction.parquet",
        "--bundle", out / "bundle", "--ledger", out / "ledger.parquet", *more,
    )  # fmt: skip


def test_cohort_and_folds(run):
    folder, people = run
    cohort = COHORT.read(folder / "cohort.parquet")
    assert tuple(cohort["patient"]) == people.ids
    assert cohort.loc[3, "slides"] == ""
    assert not cohort.loc[7, "has_expression"]
    folds = FOLDS.read(folder / "folds.parquet")
    assert (folds[folds["role"] == "test"].groupby("patient").size() == 1).all()


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_patient_who_can_be_predicted_has_one_risk(run, model):
    folder, people = run
    risk = RISK.read(folder / model / "risk.parquet")
    needed = "slide" if model != "cox_clinical" else "clinical"
    assert sorted(risk["patient"]) == [n for n, ok in zip(people.ids, people.has(needed), strict=True) if ok]
    assert np.isfinite(risk.select_dtypes(float)).all(axis=None)
    assert (risk.groupby("fold")["train_median"].nunique() == 1).all()
    assert {"survival_200", "survival_900"} <= set(risk)


def test_who_was_left_out_stands_in_the_ledger(run):
    folder, _ = run
    ledger = pd.read_parquet(folder / "abmil_wsi/ledger.parquet")
    assert set(ledger["item"]) == {"P003"}
    ledger = pd.read_parquet(folder / "ghanet/ledger.parquet")
    assert set(ledger.loc[ledger["kind"] == "gene set", "item"]) == {"tiny"}


def test_training_curves(run):
    folder, _ = run
    curves = TRAINING.read(folder / "abmil_wsi/training.parquet")
    assert set(curves["quantity"]) == {"loss", "c_index"}
    assert sorted(curves["epoch"].unique()) == [1, 2]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_bundle_reproduces_the_out_of_fold_risks(run, model):
    folder, people = run
    header, risk = read_header(folder / model / "bundle"), RISK.read(folder / model / "risk.parquet")
    for state in read_folds(folder / model / "bundle", header):
        mine = risk[risk["fold"] == state.fold].set_index("patient")
        who = people.subset([people.ids.index(name) for name in mine.index])
        again = registry.method_module(model).restore(state.tensors, state.meta).predict(who, header["horizons_days"])
        np.testing.assert_allclose(again.risk, mine["risk"], atol=1e-5)
        np.testing.assert_allclose(again.survival[:, 0], mine["survival_200"], atol=1e-5)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_second_run_writes_the_same_bytes(run, model):
    folder, _ = run
    files = [folder / model / "risk.parquet", *sorted((folder / model / "bundle").iterdir())]
    before = [file.read_bytes() for file in files]
    train(folder, model, MODELS[model])
    assert [file.read_bytes() for file in files] == before


def test_a_killed_training_goes_on_with_the_fold_that_it_was_in(run, tmp_path, monkeypatch):
    folder, _ = run
    model, fitted = "cox_clinical", []
    whole = crossfit.fit_fold

    def killed_in_the_second_fold(*args, **kwargs):
        fitted.append(kwargs["context"].names)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    before = {path: path.read_bytes() for path in sorted((folder / model).rglob("*")) if path.is_file()}
    monkeypatch.setattr(steps_training, "fit_fold", killed_in_the_second_fold)
    with pytest.raises(KeyboardInterrupt):
        train(folder, model, MODELS[model], "--checkpoints", tmp_path / "checkpoints")
    train(folder, model, MODELS[model], "--checkpoints", tmp_path / "checkpoints")
    assert fitted == [(model, "0", "0"), (model, "0", "1"), (model, "0", "1")]
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "checkpoints").exists()


def test_folds_fitted_in_jobs_of_their_own_give_the_same_bytes(run, tmp_path, monkeypatch):
    folder, _ = run
    model = "abmil_wsi"
    parts = [tmp_path / f"folds/{part}" for part in range(3)]  # one more than there are folds
    for part, out in enumerate(parts):
        words = training_words(folder, model, MODELS[model])
        script("train_folds")(*words, "--part", part, "--jobs", 3, "--out", out)
    assert [len(list(out.iterdir())) for out in parts] == [1, 1, 0]
    before = {path: path.read_bytes() for path in sorted((folder / model).rglob("*")) if path.is_file()}
    monkeypatch.setattr(steps_training, "fit_fold", lambda *_, **__: pytest.fail("a fold was fitted again"))
    train(folder, model, MODELS[model], "--fitted", *parts)
    assert {path: path.read_bytes() for path in before} == before


def explain(folder, model, **changes):
    out = folder / model
    settings = {"models": None, "patients": 5, "tiles": 50, "steps": 64, "null_fits": 2, **changes}
    script("explain_model")(
        "--cohort", folder / "cohort.parquet", "--features", folder / "features", "--covariates", "age", "sex",
        "--expression", folder / "expression.h5ad", "--bundle", out / "bundle", "--risk", out / "risk.parquet",
        "--folds", folder / "folds.parquet", "--groups", groups_of(folder), "--model-settings",
        settings_of_schema(model, **MODELS[model]), "--settings", json.dumps(settings), "--device", "cpu",
        "--attention", out / "attention.parquet", "--attributions", out / "attributions.parquet",
        "--null", out / "null.parquet", "--checks", out / "checks.parquet",
    )  # fmt: skip


@pytest.mark.parametrize("model", sorted(MODELS))
def test_explained(run, model):
    folder, people = run
    out = folder / model
    explain(folder, model)
    tiles = ATTENTION.read(out / "attention.parquet")
    shares = ATTRIBUTIONS.read(out / "attributions.parquet")
    null = ATTRIBUTION_NULL.read(out / "null.parquet")
    first = shares[shares["fold"] == 0]
    assert list(zip(null["kind"], null["name"], strict=True)) == list(zip(first["kind"], first["name"], strict=True))
    assert set(null["p_value"].round(6)) <= {0.333333, 0.666667, 1.0}
    grouped = shares["kind"] == "gene_group"
    assert set(shares.loc[grouped, "name"]) == ({"one", "two"} if model == "ghanet" else set())
    np.testing.assert_allclose(shares[~grouped].groupby("fold")["share"].sum(), 1)
    if model == "cox_clinical":
        assert len(tiles) == 0
        return
    assert set(tiles["case"]) == {"highest", "median", "lowest"}
    np.testing.assert_allclose(tiles.groupby("patient")["attention"].sum(), 1, rtol=1e-5)
    assert tiles["score"].between(0, 1).all()
    risk = RISK.read(out / "risk.parquet").set_index("patient")["risk"]
    assert set(tiles.loc[tiles["case"] == "highest", "patient"]) == {risk.idxmax()}
    checks = CHECKS.read(out / "checks.parquet")
    assert checks.loc[checks["check"] == "completeness", "value"].median() < 0.05


def predict(folder, model, target, *, qc=None, features=None):
    script("predict_slides")(
        "--bundle", folder / model / "bundle", "--qc", qc or folder / "qc.parquet",
        "--features", features or folder / "features", "--out", target / "risk.parquet",
        "--groups", target / "groups.parquet", "--attention", target / "attention.parquet",
        "--heatmaps", target / "heatmaps", "--ledger", target / "ledger.parquet",
    )  # fmt: skip


def test_new_slides_are_predicted_without_genomics(run, tmp_path):
    folder, people = run
    predict(folder, "ghanet", tmp_path)
    made = PREDICTION.read(tmp_path / "risk.parquet")
    assert len(made) == N - 1
    assert "P003" not in set(made["patient"])
    assert set(pd.read_parquet(tmp_path / "ledger.parquet")["item"]) == {"P003"}
    for name in ("risk", "percentile", "survival_200"):
        assert (made[f"{name}_lower"] <= made[name] + 1e-12).all()
        assert (made[name] <= made[f"{name}_upper"] + 1e-12).all()
    assert made["percentile"].between(0, 100).all()
    assert made["risk"].corr(made["percentile"], method="spearman") > 0.9
    groups = GROUP_EXPRESSION.read(tmp_path / "groups.parquet")
    assert set(groups["group"]) == {"one", "two"}
    heatmap = json.loads((tmp_path / "heatmaps/SP000.geojson").read_text())
    assert len(heatmap["features"]) == people.bags[0].shape[0]
    assert heatmap["features"][1]["geometry"]["coordinates"][0][:2] == [[256, 0], [512, 0]]


def test_other_encoders_are_refused(run, tmp_path):
    folder, people = run
    for slide in range(N):
        if people.bags[slide] is not None:
            write_slide(tmp_path / "features", f"SP{slide:03d}", people.bags[slide], encoder_hash="h2")
    with pytest.raises(InputError, match=r"encoder hash h2 \('made_up'\), the model was trained on h1"):
        predict(folder, "abmil_wsi", tmp_path, features=tmp_path / "features")


def test_a_model_without_slides_cannot_predict_slides(run, tmp_path):
    folder, _ = run
    with pytest.raises(InputError, match="cox_clinical"):
        predict(folder, "cox_clinical", tmp_path)


def test_slides_of_two_encoders_in_one_cohort(run, tmp_path):
    from histoweave.formats.bags import read_bags

    write_slide(tmp_path, "A", np.zeros((3, 6), dtype=np.float32))
    write_slide(tmp_path, "B", np.zeros((3, 6), dtype=np.float32), encoder_hash="h2")
    write_slide(tmp_path, "C", np.zeros((3, 4), dtype=np.float32))
    assert read_bags(tmp_path, [["A"], []]).bags[1] is None
    for other in "BC":
        with pytest.raises(InputError, match=f"slide '{other}' has . features of encoder 'made_up', slide 'A'"):
            read_bags(tmp_path, [["A"], [other]])


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def change(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda b: (b / "fold_0_0.safetensors").write_bytes(b"\x10"), "fold_0_0.safetensors cannot be read"),
        (lambda b: cut(b / "fold_0_1.safetensors"), "fold_0_1.safetensors cannot be read .*cut off or not safetensors"),
        (
            lambda b: (b / "fold_0_0.safetensors").write_bytes(pickle.dumps({"weights": [1.0] * 99})),
            "fold_0_0.safetensors cannot be read .*cut off or not safetensors",
        ),
        (lambda b: (b / "fold_0_1.safetensors").unlink(), "fold_0_1.safetensors cannot be read"),
        (lambda b: flip(b / "fold_0_0.safetensors", -9), "fold_0_0.safetensors is damaged"),
        (lambda b: change(b / "bundle.json", '"repeat": 0', '"repeat": 1'), "bundle.json is damaged"),
        (lambda b: (b / "model.pkl").write_bytes(b"\x80\x04."), "holds 'model.pkl', which is no part of a bundle"),
        (lambda b: (b / "bundle.json").write_text("{"), "is no readable bundle"),
        (lambda b: (b / "bundle.json").write_text('{"format": "x"}'), "found 'x' version None"),
        (
            lambda b: (b / "bundle.json").write_text('{"format": "survival_bundle", "format_version": 2}'),
            "'method' is missing",
        ),
    ],
)
def test_damaged_bundles_are_refused(run, tmp_path, damage, text):
    import shutil

    folder, _ = run
    shutil.copytree(folder / "abmil_wsi/bundle", tmp_path / "abmil_wsi/bundle")
    shutil.copytree(folder / "features", tmp_path / "features")
    shutil.copy(folder / "qc.parquet", tmp_path)
    damage(tmp_path / "abmil_wsi/bundle")
    with pytest.raises(InputError, match=text):
        predict(tmp_path, "abmil_wsi", tmp_path)


def test_unknown_outcomes_are_kept_out_of_training():
    cohort = pd.DataFrame({"patient": ["A"], "time_days": [5.0], "event": [1], "age": [3.0]})
    people = patients_of(
        cohort, bags=None, feature_names=(), expression=None, expression_scale="", alterations=None, covariates=["age"]
    )
    assert not people.has("slide").any()
    assert not people.has("expression").any()
