"""Turn a folder of public data into the tables that the workflow reads (used by `make real`)."""

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

DAYS_PER_MONTH = 30.4375
DATASETS = [
    ("pbmc_ctrl", "scrna_pbmc__kangctrl", "scrna", "blood"),
    ("pbmc_stim", "scrna_pbmc__kangstim", "scrna", "blood"),
    ("breast_1", "spatial_breast__bcl1", "spatial", "breast"),
    ("breast_2", "spatial_breast__bcl2", "spatial", "breast"),
    ("marrow_rna", "scrna_bmmc__liger", "scrna", "marrow"),
    ("marrow_atac", "scatac_bmmc__liger", "scatac", "marrow"),
]
# Families that genes are told apart by from their vectors; genes of two of them are left out.
FAMILIES = ["Transcription Factors", "Protein Kinases", "Cell Differentiation Markers", "Cytokines and Growth Factors"]
SLIDES = [("CMU-1-Small-Region", None), ("TCGA-CR-7395-01A-01-TS1", 0.5)]


def main() -> None:
    """Write everything below ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder laid out as its PROVENANCE.md says")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = args.data.resolve()
    write_slides(data, args.out)
    write_datasets(data, args.out)
    write_gene_tables(data / "reference", args.out)
    for cohort in ("skcm", "luad"):
        write_cohort(data / "cohorts" / cohort, args.out / cohort)


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write a TSV, unless the same stands there already (an older date reruns less)."""
    text = frame.to_csv(sep="\t", index=False)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def write_slides(data: Path, out: Path) -> None:
    """Two real slides; the frozen section carries no resolution of its own, so the table gives it."""
    rows = [(name, name[:12], data / f"slides/real/{name}.svs", mpp) for name, mpp in SLIDES]
    save(pd.DataFrame(rows, columns=["slide", "patient", "path", "mpp"]), out / "slides.tsv")


def write_datasets(data: Path, out: Path) -> None:
    """Blood, breast and marrow together, and the first two by themselves."""
    rows = [(name, data / f"singlecell/{file}.h5ad", mod, tissue, "human") for name, file, mod, tissue in DATASETS]
    table = pd.DataFrame(rows, columns=["dataset", "path", "modality", "tissue", "species"])
    save(table, out / "datasets.tsv")
    for tissue in ("blood", "breast"):
        save(table[table["tissue"] == tissue], out / f"datasets_{tissue}.tsv")
    mouse = ("olfactory_bulb", data / "singlecell/spatial_mob__rep11.h5ad", "spatial", "olfactory_bulb", "mouse")
    both = pd.concat([table[table["tissue"] == "breast"], pd.DataFrame([mouse], columns=table.columns)])
    save(both, out / "datasets_species.tsv")
    write_orthologues([Path(path) for path in table.loc[table["tissue"] == "breast", "path"]], mouse[1], out)


def write_orthologues(human: list[Path], mouse: Path, out: Path) -> None:
    """Genes with one symbol but for its case (Pten, PTEN): nearly always orthologues, by the nomenclature's rules."""
    ours = set().union(*(ad.read_h5ad(path, backed="r").var_names for path in human))
    theirs = {name.upper(): name for name in ad.read_h5ad(mouse, backed="r").var_names}
    shared = sorted(ours & set(theirs))
    save(pd.DataFrame({"human": shared, "mouse": [theirs[name] for name in shared]}), out / "orthologues.tsv")


def write_gene_tables(source: Path, out: Path) -> None:
    """Hallmark gene sets as GMT, and one family label per gene."""
    sets = pd.read_csv(source / "hallmark_sets.csv", dtype=str)
    lines = ["\t".join([name, "", *sets[name].dropna()]) for name in sets]
    (out / "hallmark.gmt").write_text("\n".join(lines) + "\n")
    families = pd.read_csv(source / "gene_groups_six.csv", dtype=str)[FAMILIES]
    labels = families.melt(var_name="label", value_name="gene").dropna().drop_duplicates()
    save(labels.loc[~labels["gene"].duplicated(keep=False), ["gene", "label"]], out / "gene_families.tsv")


def write_cohort(source: Path, out: Path) -> None:
    """Patients who have both slide features and omics, as in the published comparisons."""
    (out / "features").mkdir(parents=True, exist_ok=True)
    omics = (
        pd.read_parquet(source / "omics_zscores.parquet").drop_duplicates("case_id").set_index("case_id").sort_index()
    )
    slides = pd.read_parquet(source / "slide_features_hif.parquet").set_index("case_id")
    folds = pd.read_csv(source / "splits/random_5fold.csv.gz")
    patients = sorted(set(omics.index) & set(slides.index) & set(folds.case_id))
    patients = [p for p in patients if omics.at[p, "survival_months"] > 0]
    omics = omics.loc[patients]
    write_patients(omics, out)
    write_omics(omics, out)
    write_features(slides.loc[patients], out)
    write_folds(folds[folds.case_id.isin(patients)], out)


def write_patients(omics: pd.DataFrame, out: Path) -> None:
    """Follow-up in days, 1 = event (the source says 1 = censored)."""
    table = pd.DataFrame(
        {
            "patient": omics.index,
            "time_days": (omics.survival_months * DAYS_PER_MONTH).round(1),
            "event": (1 - omics.censorship).astype(int),
            "site": [patient.split("-")[1] for patient in omics.index],
            "age": omics.age,
            "sex": np.where(omics.is_female == 1, "female", "male"),
        }
    )
    save(table, out / "patients.tsv")


def write_omics(omics: pd.DataFrame, out: Path) -> None:
    """RNA z-scores in one table, copy number and mutations in another."""
    rna = omics.filter(like="_rnaseq").rename(columns=lambda name: name.removesuffix("_rnaseq"))
    other = omics[[name for name in omics if name.endswith(("_cnv", "_mut"))]]
    for frame, name in ((rna, "expression"), (other, "alterations")):
        path = out / f"{name}.parquet"
        if not path.is_file():
            frame.astype("float32").rename_axis("patient").reset_index().to_parquet(path, index=False)


def write_features(slides: pd.DataFrame, out: Path) -> None:
    """One file per patient, one row per slide: a bag that a slide model can read."""
    numeric = slides.select_dtypes("number").astype("float32")
    numeric = numeric.fillna(numeric.median())
    rows = []
    for patient, bag in numeric.groupby(level=0, sort=True):
        path = out / "features" / f"{patient}.parquet"
        if not path.is_file():
            bag.to_parquet(path, index=False)
        rows.append((f"{patient}-features", patient, path))
    save(pd.DataFrame(rows, columns=["slide", "patient", "features"]), out / "slides.tsv")


def write_folds(folds: pd.DataFrame, out: Path) -> None:
    """The published split: its validation part is the test part here."""
    role = folds["set"].map({"train": "train", "val": "test", "test": "test"})
    table = pd.DataFrame({"patient": folds.case_id, "repeat": 0, "fold": folds.fold, "role": role})
    save(table.sort_values(["fold", "patient"]), out / "folds.tsv")


if __name__ == "__main__":
    main()
