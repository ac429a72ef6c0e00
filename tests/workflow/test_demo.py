"""The demo from end to end: what was planted is found, and with follow-up dealt out anew nothing is."""

import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import adjusted_rand_score
from workflow.conftest import Project, copy_project

from histoweave.formats.bundle import read_folds, read_header, write_bundle

pytestmark = pytest.mark.slow

BOTH, SINGLE = "path_gptomic", ("path_gptomic_slide", "path_gptomic_gene")
VERSIONS = {BOTH: SINGLE, "late_fusion": ("abmil_wsi", "coxnet_rna")}  # slide+gene model -> its single modalities


def branch(demo: Project, folder) -> Project:
    """A copy of a finished run; big files are linked, since steps replace files and never write into them."""
    big = ("results", "demo-data")
    shutil.copytree(demo.folder, folder, symlinks=True, ignore=lambda d, _: big if d == str(demo.folder) else ())
    for name in big:
        ignore = shutil.ignore_patterns("logs", "benchmarks")
        shutil.copytree(demo.folder / name, folder / name, copy_function=os.link, ignore=ignore)
    return Project(folder)


def edit_config(project: Project, change) -> None:
    path = project.folder / "config/demo.yaml"
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


def table(project: Project, name: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results" / name)


def truth(project: Project, name: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / f"demo-data/truth/{name}.parquet")


def c_index(project: Project, model: str) -> pd.Series:
    metrics = table(project, "evaluation/metrics.parquet")
    return metrics[(metrics["model"] == model) & (metrics["metric"] == "c_index")].iloc[0]


def gain(project: Project, model: str, over: str) -> pd.Series:
    found = table(project, "evaluation/comparisons.parquet")
    rows = found[(found["model_a"] == model) & (found["model_b"] == over) & (found["metric"] == "c_index")]
    return rows.iloc[0]


def best(project: Project, models) -> str:
    return max(models, key=lambda model: c_index(project, model)["estimate"])


def test_slide_and_gene_beat_the_better_of_either(demo):
    both = best(demo, VERSIONS)
    assert gain(demo, both, best(demo, VERSIONS[both]))["lower"] > 0
    assert 0.70 < c_index(demo, both)["estimate"] < 0.86


def test_path_gptomic_gains_from_the_slide_and_from_genes(demo):
    assert all(gain(demo, BOTH, model)["difference"] > 0 for model in SINGLE)


def test_slides_alone_are_better_than_chance(demo):
    assert c_index(demo, "ghanet")["lower"] > 0.5


@pytest.fixture(scope="module")
def permuted(demo, tmp_path_factory):
    """The demo with follow-up dealt out anew between the patients."""
    project = branch(demo, tmp_path_factory.mktemp("permuted") / "run")

    def change(values):
        values["inputs"]["patients"] = "config/demo/patients_permuted.tsv"
        keep = {"cox_clinical", "ghanet", *VERSIONS, *(name for single in VERSIONS.values() for name in single)}
        models = values["survival"]["models"]
        values["survival"]["models"] = {name: models[name] for name in models if name in keep}
        values["survival"]["explain"]["models"] = []
        values["survival"]["path_gptomic"] |= {"members": 1, "regulation": {"use": "never"}}  # neither reads follow-up
        pairs = [[both, single] for both, versions in VERSIONS.items() for single in versions if single != "coxnet_rna"]
        values["evaluation"]["compare"]["pairs"] = pairs  # coxnet_rna is a baseline, compared with every model

    edit_config(project, change)
    done = project.snakemake("evaluation")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return project


def test_nothing_is_found_in_permuted_follow_up(permuted):
    for both, single in VERSIONS.items():
        assert gain(permuted, both, best(permuted, single))["lower"] < 0, both
    for model in ("ghanet", "coxnet_rna", *VERSIONS):
        assert c_index(permuted, model)["lower"] < 0.5, model
        assert c_index(permuted, model)["estimate"] < 0.62, model


BLOCKER = """import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"rpy2", "scanpy", "igraph", "leidenalg", "sksurv"}:
            raise ModuleNotFoundError(f"{name} is not on this machine")


sys.meta_path.insert(0, Refuse())
"""


def test_predict_gives_a_fold_s_risks_without_genomics_and_training_data(demo, tmp_path):
    results = demo.folder / "results"
    project = copy_project(demo.folder, tmp_path)
    (tmp_path / "workflow/src/sitecustomize.py").write_text(BLOCKER)  # a machine without R and single-cell packages
    whole = results / "survival/ghanet/bundle"
    header = read_header(whole)
    state = next(one for one in read_folds(whole, header) if (one.repeat, one.fold) == (0, 0))
    told = {name: header[name] for name in ("method", "needs", "encoder", "horizons_days")}
    write_bundle(tmp_path / "bundle", told, [state], provenance={})
    risk = table(demo, "survival/ghanet/risk.parquet")
    risk = risk[(risk["repeat"] == 0) & (risk["fold"] == 0)].set_index("patient")
    qc = table(demo, "slides/qc.parquet")
    qc = qc[(qc["status"] == "ok") & qc["patient"].isin(risk.index)]
    features = [str(results / f"slides/features/{slide}.h5ad") for slide in qc["slide"]]
    qc[["slide", "patient"]].assign(features=features).to_csv(tmp_path / "new.tsv", sep="\t", index=False)
    config = {"inputs": {"slides": "new.tsv"}, "results_dir": "new", "slides": {"batches": 1}}
    config["survival"] = {"predict": {"bundle": "bundle"}}
    (tmp_path / "predict.yaml").write_text(yaml.safe_dump(config))
    done = project.snakemake("--configfile", "predict.yaml", "--", "predict")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    made = pd.read_parquet(tmp_path / "new/predict/risk.parquet").set_index("patient").loc[risk.index]
    again = made["risk"] * state.train_risk.std() + risk["train_median"]
    np.testing.assert_allclose(again, risk["risk"], atol=1e-5)
    np.testing.assert_allclose(made["survival_365"], risk["survival_365"], atol=1e-5)
    assert made["percentile"].between(0, 100).all()
    assert pd.read_parquet(tmp_path / "new/predict/group_expression.parquet")["patient"].nunique() == len(risk)
    assert {path.stem for path in (tmp_path / "new/predict/heatmaps").glob("*.geojson")} == set(qc["slide"])


def test_bad_slides_end_in_the_ledger_and_the_run_goes_on(demo):
    status = table(demo, "slides/qc.parquet").set_index("slide")["status"]
    planted = truth(demo, "slides").set_index("slide")["defect"]
    assert status[planted[planted == "corrupt"].index].tolist() == ["failed"]
    assert status[planted[planted == "empty"].index].tolist() == ["empty"]
    assert (status == "ok").sum() == len(status) - 2
    ledger = table(demo, "ledger.parquet")
    assert set(status[status != "ok"].index) <= set(ledger["item"])


def test_the_table_gives_the_missing_resolution(demo):
    qc = table(demo, "slides/qc.parquet").set_index("slide")
    planted = truth(demo, "slides").set_index("slide")
    without = planted.index[planted["defect"] == "no_mpp"]
    assert (qc.loc[without, "mpp_source"] == "table").all()
    fine = qc.index[qc["status"] == "ok"]
    assert (qc.loc[fine, "mpp"] / planted.loc[fine, "mpp"] - 1).abs().max() < 1e-3


def test_planted_modules_are_found(demo):
    planted = truth(demo, "genes").set_index("gene")["module"]
    found = table(demo, "genegraph/modules.parquet").set_index("gene")["module"]
    both = planted[planted != ""].index.intersection(found.index)
    assert len(both) > 100
    assert adjusted_rand_score(planted[both], found[both]) >= 0.8


def test_gene_vectors_tell_hidden_edges_better_than_every_control(demo):
    found = table(demo, "genegraph/metrics.parquet")
    held_out = found[found["metric"] == "held_out_auc"].set_index("method")
    assert set(held_out.index) == {"musegnn", "random_per_gene", "pca", "joint_spectral"}
    assert held_out.loc["musegnn", "lower"] > held_out.drop(index="musegnn")["upper"].max()


def test_planted_spatial_genes_come_first(demo):
    genes = truth(demo, "genes").set_index("gene")
    ranked = table(demo, "expression/tumour_st/spatial_genes.parquet").sort_values("rank")["gene"]
    first = genes.loc[ranked[:100]]
    assert ((first["module"] != "") | (first["marker_of"] != "")).mean() > 0.9


def test_one_core_gives_the_same_bytes(demo, tmp_path):
    project = branch(demo, tmp_path / "run")
    names = ["survival/cox_clinical/risk.parquet", "survival/abmil_wsi/risk.parquet", "evaluation/metrics.parquet"]
    before = {name: (project.folder / "results" / name).read_bytes() for name in names}
    for name in names:
        (project.folder / "results" / name).unlink()
    done = project.snakemake(*(f"results/{name}" for name in names), cores=1)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert {name: (project.folder / "results" / name).read_bytes() for name in names} == before


def test_a_new_slide_reruns_its_batch_and_the_cohort_s_steps_only(demo, tmp_path):
    project = branch(demo, tmp_path / "run")
    path = project.folder / "config/demo/slides.tsv"
    shutil.copy(project.folder / "demo-data/slides/S002.tiff", project.folder / "new.tiff")
    path.write_text(path.read_text() + "S900\tP002\tnew.tiff\t\tD\n")
    jobs = project.dry_run("all")
    assert jobs["tile_slides"] == jobs["encode_tiles"] == 1
    assert not {"compute_residuals", "train_embedding", "qc_counts"} & set(jobs)


# A change reruns what depends on it, and nothing else: counted on dry runs after the finished demo.


def first_slide(project):
    lines = (project.folder / "config/demo/slides.tsv").read_text().splitlines()
    return dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))


def change_config(project, change):
    path = project.folder / "config/demo.yaml"
    old = path.read_text()
    values = yaml.safe_load(old)
    change(values)
    path.write_text(yaml.safe_dump(values))
    return lambda: path.write_text(old)


def stage_of(project):
    """Rule -> stage, from the rule files."""
    files = (project.folder / "workflow/rules").rglob("*.smk")
    return {rule: f.stem for f in files for rule in re.findall(r"(?m)^rule (\w+):", f.read_text())}


def stages_rerun(project, *args):
    where = stage_of(project)
    return {where.get(rule, rule) for rule in project.dry_run("all", *args)} - {"all", "Snakefile"}


def test_nothing_changes_nothing(demo):
    assert demo.dry_run("all") == {}


def test_a_touched_slide_reruns_its_chain_only(demo):
    path = demo.folder / first_slide(demo)["path"]
    with path.open("ab") as file:
        file.write(b"\0")
    try:
        jobs = demo.dry_run("all")
    finally:
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - 1)
        os.utime(path, (1, 1))
    where = stage_of(demo)
    per_batch = {rule: n for rule, n in jobs.items() if where.get(rule) == "slides"}
    assert per_batch, "the slide's chain reruns"
    assert set(per_batch.values()) == {1}, "one batch, the slide's own"
    assert not {where.get(rule) for rule in jobs} & {"expression", "genegraph", "simulate"}
    assert "train_model" in jobs


def test_a_comment_in_the_library_reruns_nothing(demo):
    for name in ("errors.py", "steps.py", "slides/tissue.py", "survival/ghanet.py"):
        path = demo.folder / "workflow/src/histoweave" / name
        path.write_text("# a comment\n" + path.read_text() + "\n# another\n")
    assert demo.dry_run("all") == {}


def test_a_code_change_reruns_the_steps_that_use_it(demo):
    path = demo.folder / "workflow/src/histoweave/evaluation/summary.py"
    old = path.read_text()
    path.write_text(old + "\n\nCHANGED = 1\n")
    try:
        assert stages_rerun(demo) <= {"evaluation", "report"}
        assert "evaluation" in stages_rerun(demo)
    finally:
        path.write_text(old)


@pytest.mark.parametrize(
    ("stage", "change", "spared"),
    [
        (
            "evaluation",
            lambda c: c["evaluation"].setdefault("bootstrap", {}).update(draws=50),
            {"survival", "genegraph"},
        ),
        ("expression", lambda c: c["expression"].setdefault("hvg", {}).update(n_genes=77), {"slides", "simulate"}),
    ],
)
def test_a_setting_reruns_its_stage_and_those_after_it(demo, stage, change, spared):
    undo = change_config(demo, change)
    try:
        stages = stages_rerun(demo)
    finally:
        undo()
    assert stage in stages
    assert "report" in stages
    assert not stages & spared
