"""The demo once more with something changed, in copies of it; a file of its own, so that two workers share the load."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from workflow.conftest import copy_project
from workflow.finished import VERSIONS, best, branch, c_index, edit_config, gain, table

from histoweave.formats.bundle import read_folds, read_header, write_bundle

pytestmark = pytest.mark.slow


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
