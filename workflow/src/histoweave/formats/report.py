"""What the report reads and writes: the run's tables by name, the list of figures, the joined ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from histoweave.errors import InputError
from histoweave.formats import evaluation, explained, genegraph, slides, survival
from histoweave.formats.files import fingerprint, replacing, safe_name
from histoweave.formats.ledger import LEDGER, check_counts
from histoweave.formats.table import TableKind

FIGURES = TableKind("report_figures", 1, {"figure": "str", "file": "str", "drawn": "bool", "alt": "str"})
"""report/figures.parquet: one row per figure; where `drawn` is false, `alt` says why and `file` is empty."""

PSEUDONYMS = TableKind("report_pseudonyms", 1, {"kind": "str", "name": "str", "pseudonym": "str"})
"""pseudonyms.parquet: what the report calls each patient and slide. Not below report/, which people pass on whole."""

TABLES: Mapping[str, tuple[str, TableKind]] = {
    "cohort": ("survival/cohort.parquet", survival.COHORT),
    "folds": ("survival/folds.parquet", survival.FOLDS),
    "all_cohorts": ("survival/external/cohort.parquet", survival.COHORTS),
    "slides_qc": ("slides/qc.parquet", slides.QC),
    "modules": ("genegraph/modules.parquet", genegraph.MODULES),
    "gene_embedding": ("genegraph/gene_embedding.parquet", genegraph.GENE_EMBEDDING),
    "gene_training": ("genegraph/training.parquet", genegraph.TRAINING),
    "graph_metrics": ("genegraph/metrics.parquet", genegraph.METRICS),
    "graph_comparisons": ("genegraph/comparisons.parquet", genegraph.COMPARISONS),
    "enrichment": ("genegraph/enrichment.parquet", genegraph.ENRICHMENT),
    "probes": ("genegraph/probes.parquet", genegraph.PROBES),
    "differential": ("genegraph/differential.parquet", genegraph.DIFFERENTIAL),
    "gene_function": ("genegraph/gene_function_scores.parquet", genegraph.FUNCTION_SCORES),
    "orthology": ("genegraph/orthology.parquet", genegraph.ORTHOLOGY),
    "metrics": ("evaluation/metrics.parquet", evaluation.METRICS),
    "fold_metrics": ("evaluation/fold_metrics.parquet", evaluation.FOLD_METRICS),
    "comparisons": ("evaluation/comparisons.parquet", evaluation.COMPARISONS),
    "kaplan_meier": ("evaluation/kaplan_meier.parquet", evaluation.KAPLAN_MEIER),
    "at_risk": ("evaluation/at_risk.parquet", evaluation.AT_RISK),
    "logrank": ("evaluation/logrank.parquet", evaluation.LOGRANK),
    "calibration": ("evaluation/calibration.parquet", evaluation.CALIBRATION),
    "d_calibration": ("evaluation/d_calibration.parquet", evaluation.D_CALIBRATION),
    "decision": ("evaluation/decision.parquet", evaluation.DECISION),
    "hazard_ratios": ("evaluation/hazard_ratios.parquet", evaluation.HAZARD_RATIOS),
    "added_value": ("evaluation/added_value.parquet", evaluation.ADDED_VALUE),
    "subgroups": ("evaluation/subgroups.parquet", evaluation.SUBGROUPS),
    "audits": ("evaluation/audits.parquet", evaluation.AUDITS),
    "sites": ("evaluation/sites.parquet", evaluation.SITES),
    "external": ("evaluation/external.parquet", evaluation.EXTERNAL),
    "external_calibration": ("evaluation/external_calibration.parquet", evaluation.EXTERNAL_CALIBRATION),
    "external_comparisons": ("evaluation/external_comparisons.parquet", evaluation.EXTERNAL_COMPARISONS),
    "external_curves": ("evaluation/external_curves.parquet", evaluation.EXTERNAL_CURVES),
    "external_at_risk": ("evaluation/external_at_risk.parquet", evaluation.EXTERNAL_AT_RISK),
    "ledger": ("ledger.parquet", LEDGER),
}
"""Name in the report -> file below the results folder, and its kind."""

MODEL_TABLES: Mapping[str, tuple[str, TableKind]] = {
    "risk": ("survival/{}/risk.parquet", survival.RISK),
    "training": ("survival/{}/training.parquet", survival.TRAINING),
    "reconstruction": ("survival/{}/reconstruction.parquet", survival.RECONSTRUCTION),
    "attention": ("survival/{}/attention.parquet", survival.ATTENTION),
    "attributions": ("survival/{}/attributions.parquet", explained.ATTRIBUTIONS),
    "attribution_null": ("survival/{}/attribution_null.parquet", explained.ATTRIBUTION_NULL),
    "attribution_checks": ("survival/{}/attribution_checks.parquet", explained.CHECKS),
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
    for name, (pattern, kind) in MODEL_TABLES.items():
        known |= {f"{name}/{model}": (pattern.format(safe_name(model)), kind) for model in models}
    results = Results({}, {name: file for name, (file, _) in known.items()}, {})
    for name, (file, kind) in known.items():
        path = folder / file
        results.tables[name] = kind.read(path) if path.is_file() else None
        if path.is_file():
            results.records[name] = kind.metadata(path) | {"format": kind.name, "format_version": kind.version}
    return results


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

    A case is left out where its slide has no thumbnail or is not in the table of slides.
    """
    attention, quality = tables.get("attention"), tables.get("slides_qc")
    if attention is None or quality is None:
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


def read_pseudonyms(path: Path | None) -> dict[str, dict[str, str]]:
    """Kind (patient, slide) -> name -> pseudonym; empty without a file."""
    if path is None:
        return {}
    table = PSEUDONYMS.read(path)
    return {kind: dict(zip(part["name"], part["pseudonym"], strict=True)) for kind, part in table.groupby("kind")}


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
    others: dict[str, object] = {"versions": read_versions(envs), "lock": fingerprint(envs / "requirements.txt")}
    for name, file in (("methods", "methods.txt.j2"), ("references", "references.bib")):
        others[name] = (templates / file).read_text(encoding="utf-8")
    for name in ("tripod_ai", "remark"):
        others[name] = yaml.safe_load((templates / f"{name}.yaml").read_text(encoding="utf-8"))
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


def read_slide_paths(table: Path | None, tables: Mapping[str, pd.DataFrame | None]) -> tuple[list[dict], str]:
    """Files of the heatmap cases' slides, and a sentence on those that have none (empty if all have one).

    table : the user's table of slides. Each case gives ``case``, ``slide``, ``model``, ``path``, ``mpp``, ``tile_px0``
    and ``tiles``, its rows of attention with ``value``.
    """
    attention, quality = tables.get("attention"), tables.get("slides_qc")
    if attention is None or quality is None or table is None:
        return [], "No model of this run wrote attention, so there is no slide to show."
    given = pd.read_csv(table, sep="\t", dtype=str).set_index("slide")
    paths = given["path"].dropna().to_dict() if "path" in given else {}
    scales = quality.drop_duplicates("slide").set_index("slide")
    found, without = [], []
    for case, tiles in attention.groupby("case", sort=False):
        slide = tiles["slide"].iloc[0]
        if slide not in paths or slide not in scales.index:
            without.append(slide)
            continue
        mpp, tile_um = (float(scales.loc[slide, name]) for name in ("mpp", "tile_um"))
        told = {"case": safe_name(case), "slide": slide, "model": tiles["model"].iloc[0], "path": Path(paths[slide])}
        tiles = tiles.rename(columns={"score": "value"})
        found.append(told | {"mpp": mpp, "tile_px0": tile_um / mpp, "tiles": tiles})
    note = f"No file is known for {', '.join(f'slide {name}' for name in without)}." if without else ""
    return found, note


def write_jpeg(pixels: np.ndarray, path: Path, *, quality: int) -> None:
    """Write pixels (row, column, rgb) uint8 as JPEG."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, quality=quality)


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels (row, column, rgb or rgba) uint8 as PNG."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
