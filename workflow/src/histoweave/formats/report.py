"""What the report reads and writes: the run's tables by name, the list of figures, the joined ledger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from histoweave.errors import InputError, shorten
from histoweave.formats.files import safe_name
from histoweave.formats.ledger import LEDGER, check_counts
from histoweave.formats.table import TableKind

FIGURES = TableKind("report_figures", 1, {"figure": "str", "file": "str", "drawn": "bool", "alt": "str"})
"""report/figures.parquet: one row per figure; where `drawn` is false, `alt` says why and `file` is empty."""

TABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cohort": ("survival/cohort.parquet", ("patient", "time_days", "event", "has_slide", "has_expression")),
    "folds": ("survival/folds.parquet", ("patient", "repeat", "fold", "role")),
    "slides_qc": ("slides/qc.parquet", ("slide", "status", "reason")),
    "modules": ("genegraph/modules.parquet", ("gene", "module")),
    "gene_embedding": ("genegraph/gene_embedding.parquet", ("gene",)),
    "graph_metrics": ("genegraph/metrics.parquet", ("method", "metric", "value")),
    "metrics": ("evaluation/metrics.parquet", ("model", "metric", "estimate", "lower", "upper")),
    "comparisons": ("evaluation/comparisons.parquet", ("model_a", "model_b", "metric", "difference", "lower", "upper")),
    "kaplan_meier": ("evaluation/kaplan_meier.parquet", ("model", "group", "time_days", "survival", "lower", "upper")),
    "at_risk": ("evaluation/at_risk.parquet", ("model", "group", "time_days", "at_risk")),
    "logrank": ("evaluation/logrank.parquet", ("model", "p_value")),
    "ledger": ("ledger.parquet", tuple(LEDGER.columns)),
}
"""Name in the report -> file below the results folder, and the columns that the report cannot do without."""

MODEL_TABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "risk": ("survival/{}/risk.parquet", ("patient", "repeat", "fold", "risk")),
    "training": ("survival/{}/training.parquet", ("repeat", "fold", "epoch", "part", "quantity", "value")),
    "attention": ("survival/{}/attention.parquet", ("patient", "slide", "x", "y", "attention", "case")),
}
"""The same, one file for each survival model; its name in the report is ``risk/<model>``."""


@dataclass(frozen=True)
class Results:
    """Tables of a results folder; None for those that are not there. The index counts the rows of the file.

    files : name -> path below the folder; records : name -> metadata (provenance and more)
    """

    tables: dict[str, pd.DataFrame | None]
    files: dict[str, str]
    records: dict[str, dict]


def read_results(folder: Path, models: Sequence[str]) -> Results:
    """Read all tables that the report knows; raises InputError for one that is damaged or lacks a column."""
    known = dict(TABLES)
    for name, (pattern, columns) in MODEL_TABLES.items():
        known |= {f"{name}/{model}": (pattern.format(safe_name(model)), columns) for model in models}
    results = Results({}, {name: file for name, (file, _) in known.items()}, {})
    for name, (file, columns) in known.items():
        path = folder / file
        results.tables[name] = _read(path, columns) if path.is_file() else None
        if path.is_file():
            results.records[name] = _metadata(path)
    return results


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        frame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}). Remove it and run again."
        raise InputError(msg) from error
    missing = [name for name in columns if name not in frame]
    if missing:
        msg = f"{path}: {len(missing)} column(s) missing: {shorten(missing)}. Remove it and run again."
        raise InputError(msg)
    return frame.reset_index(drop=True)


def _metadata(path: Path) -> dict:
    found = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
    plain = ("format", "format_version")
    return {key: value if key in plain else json.loads(value) for key, value in found.items() if "ARROW" not in key}


def join_ledgers(parts: Sequence[Path]) -> tuple[pd.DataFrame, list[dict]]:
    """Rows of all ledger parts, sorted, and their counts; raises InputError if a count does not add up."""
    frames, counts = [], []
    for path in sorted(parts):
        frame, stated = LEDGER.read(path), LEDGER.metadata(path).get("counts", [])
        try:
            check_counts(frame, stated)
        except InputError as error:
            msg = f"{path}: {error}"
            raise InputError(msg) from error
        frames.append(frame)
        counts += stated
    joined = pd.concat(frames, ignore_index=True) if frames else LEDGER.empty()
    order = list(LEDGER.columns)
    return joined.sort_values(order, ignore_index=True), sorted(
        counts, key=lambda count: sorted(count.items()).__repr__()
    )


def read_slides(results: Path, tables: Mapping[str, pd.DataFrame | None]) -> dict[str, dict]:
    """Thumbnail and scale of the slide of each heatmap case: ``thumbnail``, ``downsample``, ``tile_px0``, ``mpp``.

    A case is left out where the slide has no thumbnail or the quality table gives no scale for it.
    """
    attention, quality = tables.get("attention"), tables.get("slides_qc")
    needed = {"thumbnail_downsample", "tile_um", "mpp"}
    if attention is None or quality is None or not needed <= set(quality):
        return {}
    scales = quality.drop_duplicates("slide").set_index("slide")
    found = {}
    for case, slide in attention.groupby("case")["slide"].first().items():
        path = results / "slides/thumbnails" / f"{safe_name(slide)}.png"
        if slide in scales.index and path.is_file():
            row = scales.loc[slide]
            with Image.open(path) as image:
                thumbnail = np.asarray(image.convert("RGB"))
            mpp = float(row["mpp"])
            scale = {"downsample": float(row["thumbnail_downsample"]), "tile_px0": float(row["tile_um"]) / mpp}
            found[str(case)] = {"thumbnail": thumbnail, "mpp": mpp} | scale
    return found


def read_figures(folder: Path) -> list[dict]:
    """Figures that were drawn into ``figures/`` of `folder`: the rows of FIGURES with ``svg``, the file's text."""
    table = FIGURES.read(folder / "figures.parquet")
    rows = table.to_dict("records")
    for row in rows:
        path = folder / "figures" / row["file"]
        row["svg"] = path.read_text(encoding="utf-8") if row["drawn"] else ""
    return rows


@dataclass(frozen=True)
class Texts:
    """What people wrote for the report: captions by figure, the datasets table, and the rest by name."""

    captions: dict[str, str]
    datasets: pd.DataFrame | None
    others: dict[str, object]


def read_texts(templates: Path, envs: Path, datasets: Path | None) -> Texts:
    """Read captions (``captions/<figure>.rst``: title in the first line), the environments' pins, and `datasets`."""
    captions = {path.stem: path.read_text(encoding="utf-8") for path in sorted((templates / "captions").glob("*.rst"))}
    others = {"versions": read_versions(envs)}
    table = pd.read_csv(datasets, sep="\t") if datasets is not None else None
    return Texts(captions, table, others)


def read_versions(envs: Path) -> dict[str, str]:
    """Package -> version as pinned in the environments of the stages."""
    versions = {}
    for path in sorted(envs.glob("*.yaml")):
        for line in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
            name, _, version = str(line).partition("=")
            versions[name.strip()] = version.strip(" =")
    return dict(sorted(versions.items()))
