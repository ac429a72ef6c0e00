"""The tables of the demo cohort that a user would write: slides, patients and datasets."""

from collections.abc import Sequence

import pandas as pd

from histoweave.simulate.cohort import Cohort
from histoweave.simulate.expression import DATASETS, SPATIAL
from histoweave.simulate.slide import SlidePlan

NO_EXPRESSION = ("P023", "P064", "P110")


def slides_table(plans: Sequence[SlidePlan], *, folder: str) -> pd.DataFrame:
    """`slide, patient, path, mpp, site`; mpp is filled only for the slide whose file does not say it."""
    return pd.DataFrame(
        [
            {
                "slide": plan.slide,
                "patient": plan.patient,
                "path": f"{folder}/slides/{plan.slide}.tiff",
                "mpp": f"{plan.mpp}" if plan.defect == "no_mpp" else "",
                "site": plan.site,
            }
            for plan in plans
        ]
    )


def datasets_table(*, folder: str) -> pd.DataFrame:
    """`dataset, path, modality, tissue, species, cell_type_column`."""
    return pd.DataFrame(
        [
            {
                "dataset": name,
                "path": f"{folder}/datasets/{name}.h5ad",
                "modality": "spatial" if name == SPATIAL else "scrna",
                "tissue": tissue,
                "species": "human",
                "cell_type_column": "cell_type",
            }
            for name, tissue in DATASETS.items()
        ]
    )


def demo_tables(cohort: Cohort, plans: Sequence[SlidePlan], permuted: pd.DataFrame, *, folder: str) -> dict[str, str]:
    """File name -> TSV text of every table that is kept with the workflow."""
    frames = {
        "slides.tsv": slides_table(plans, folder=folder),
        "patients.tsv": cohort.patients,
        "patients_permuted.tsv": permuted,
        "datasets.tsv": datasets_table(folder=folder),
    }
    return {name: frame.to_csv(sep="\t", index=False, lineterminator="\n") for name, frame in frames.items()}


def has_expression(patients: pd.Series) -> pd.Series:
    """Whether a patient's RNA was measured (patient,): a few have a slide alone."""
    return ~patients.isin(NO_EXPRESSION)
