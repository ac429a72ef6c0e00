"""A change reruns what depends on it, and nothing else: counted on dry runs after a finished demo."""

import os
import re

import pytest
import yaml

pytestmark = pytest.mark.slow

AFTER_SLIDES = {"assemble_cohort", "split_folds", "train_model"}


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
    files = (project.folder / "workflow/rules").glob("*.smk")
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
    path = demo.folder / "workflow/src/histoweave/evaluation/discrimination.py"
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
            lambda c: c["evaluation"].setdefault("intervals", {}).update(draws=50),
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
