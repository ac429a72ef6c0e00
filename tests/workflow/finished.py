"""What tests ask of a finished demo, and copies of it that they may change."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import yaml
from workflow.conftest import Project

VERSIONS = {"path_gptomic": ("path_gptomic_slide", "path_gptomic_gene"), "late_fusion": ("abmil_wsi", "coxnet_rna")}
"""Slide+gene model -> its single modalities."""


def branch(demo: Project, folder: Path) -> Project:
    """A copy of a finished run; big files are linked, since steps replace files and never write into them."""
    big = ("results", "demo-data")
    shutil.copytree(demo.folder, folder, symlinks=True, ignore=lambda d, _: big if d == str(demo.folder) else ())
    for name in big:
        ignore = shutil.ignore_patterns("logs", "benchmarks")
        shutil.copytree(demo.folder / name, folder / name, copy_function=os.link, ignore=ignore)
    return Project(folder)


def table(project: Project, name: str) -> pd.DataFrame:
    """A table below the results of a run."""
    return pd.read_parquet(project.folder / "results" / name)


def c_index(project: Project, model: str) -> pd.Series:
    """Row of Harrell's c of a model."""
    metrics = table(project, "evaluation/metrics.parquet")
    return metrics[(metrics["model"] == model) & (metrics["metric"] == "c_index")].iloc[0]


def gain(project: Project, model: str, over: str) -> pd.Series:
    """Row of the difference in Harrell's c between two models."""
    found = table(project, "evaluation/comparisons.parquet")
    rows = found[(found["model_a"] == model) & (found["model_b"] == over) & (found["metric"] == "c_index")]
    return rows.iloc[0]


def best(project: Project, models: Iterable[str]) -> str:
    """The model of the largest c."""
    return max(models, key=lambda model: c_index(project, model)["estimate"])


def edit_config(project: Project, change: Callable[[dict], object]) -> None:
    """Let `change` edit the values of the demo's config."""
    path = project.folder / "config/demo.yaml"
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))
