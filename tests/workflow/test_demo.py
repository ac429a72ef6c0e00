"""The demo from end to end: what was planted is found, and a change reruns what depends on it."""

import os
import re
import shutil

import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from workflow.conftest import Project
from workflow.finished import VERSIONS, best, branch, c_index, edit_config, gain, table

pytestmark = pytest.mark.slow


def truth(project: Project, name: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / f"demo-data/truth/{name}.parquet")


def test_slide_and_gene_beat_the_better_of_either(demo):
    both = best(demo, VERSIONS)
    assert gain(demo, both, best(demo, VERSIONS[both]))["lower"] > 0
    assert 0.70 < c_index(demo, both)["estimate"] < 0.86


def test_path_gptomic_gains_from_the_slide_and_from_genes(demo):
    assert all(gain(demo, "path_gptomic", one)["difference"] > 0 for one in VERSIONS["path_gptomic"])


def test_slides_alone_are_better_than_chance(demo):
    assert c_index(demo, "ghanet")["lower"] > 0.5


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


# A change reruns what depends on it, and nothing else: counted on dry runs after the finished demo.


@pytest.fixture(scope="module")
def changed(demo, tmp_path_factory) -> Project:
    """A copy of the finished demo that may be changed."""
    return branch(demo, tmp_path_factory.mktemp("changed") / "run")


def first_slide(project):
    lines = (project.folder / "config/demo/slides.tsv").read_text().splitlines()
    return dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))


def change_config(project, change):
    path = project.folder / "config/demo.yaml"
    old = path.read_text()
    edit_config(project, change)
    return lambda: path.write_text(old)


def stage_of(project):
    """Rule -> stage, from the rule files."""
    files = (project.folder / "workflow/rules").rglob("*.smk")
    return {rule: f.stem for f in files for rule in re.findall(r"(?m)^rule (\w+):", f.read_text())}


def stages_rerun(project, *args):
    where = stage_of(project)
    return {where.get(rule, rule) for rule in project.dry_run("all", *args)} - {"all", "Snakefile"}


def test_nothing_changes_nothing(changed):
    assert changed.dry_run("all") == {}


def test_a_touched_slide_reruns_its_chain_only(changed):
    path = changed.folder / first_slide(changed)["path"]
    shutil.copy2(path, path.with_suffix(".own"))  # it is linked to the finished demo's
    path.with_suffix(".own").replace(path)
    with path.open("ab") as file:
        file.write(b"\0")
    try:
        jobs = changed.dry_run("all")
    finally:
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - 1)
        os.utime(path, (1, 1))
    where = stage_of(changed)
    per_batch = {rule: n for rule, n in jobs.items() if where.get(rule) == "slides"}
    assert per_batch, "the slide's chain reruns"
    assert set(per_batch.values()) == {1}, "one batch, the slide's own"
    assert not {where.get(rule) for rule in jobs} & {"expression", "genegraph", "simulate"}
    assert "train_model" in jobs


def test_a_comment_in_the_library_reruns_nothing(changed):
    for name in ("errors.py", "steps.py", "slides/tissue.py", "survival/ghanet.py"):
        path = changed.folder / "workflow/src/histoweave" / name
        path.write_text("# a comment\n" + path.read_text() + "\n# another\n")
    assert changed.dry_run("all") == {}


def test_a_code_change_reruns_the_steps_that_use_it(changed):
    path = changed.folder / "workflow/src/histoweave/evaluation/summary.py"
    old = path.read_text()
    path.write_text(old + "\n\nCHANGED = 1\n")
    try:
        assert stages_rerun(changed) <= {"evaluation", "report"}
        assert "evaluation" in stages_rerun(changed)
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
def test_a_setting_reruns_its_stage_and_those_after_it(changed, stage, change, spared):
    undo = change_config(changed, change)
    try:
        stages = stages_rerun(changed)
    finally:
        undo()
    assert stage in stages
    assert "report" in stages
    assert not stages & spared
