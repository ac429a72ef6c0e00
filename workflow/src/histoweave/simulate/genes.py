"""Genes of the demo cohort: names, planted modules and the expression profiles of cell types."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.rng import generator
from histoweave.simulate.cohort import MODULES, RISK_MODULE
from histoweave.simulate.symbols import FAMILIES, MITOCHONDRIAL

GENES = 2000
PER_MODULE = 60
PER_TYPE = 35
BLOOD_TYPES = ("T cell", "B cell", "NK cell", "Monocyte")
TUMOUR_TYPES = ("Tumour cell", "Fibroblast", "Endothelial cell", "T cell", "Macrophage")
CELL_TYPES = tuple(dict.fromkeys(BLOOD_TYPES + TUMOUR_TYPES))


@dataclass(frozen=True)
class GeneModel:
    """What every dataset and the bulk share.

    table : one row per gene: `gene, module` ('' for none), `loading, marker_of, family`
    loadings : (gene, module) change of log expression per SD of the module's activity
    profiles : cell type -> (gene,) shares of a cell's RNA, summing to 1
    """

    table: pd.DataFrame
    loadings: np.ndarray
    profiles: dict[str, np.ndarray]


def simulate_genes(*, seed: int) -> GeneModel:
    """Draw the gene model of the cohort."""
    rng = generator(seed, "simulate", "genes")
    names, families = gene_names(rng=rng)
    order = rng.permutation(np.flatnonzero(~np.isin(names, MITOCHONDRIAL)))
    module = np.full(GENES, "", dtype=object)
    marker = np.full(GENES, "", dtype=object)
    cuts = [PER_MODULE] * len(MODULES) + [PER_TYPE] * len(CELL_TYPES)
    parts = np.split(order, np.cumsum(cuts))
    for name, part in zip(MODULES, parts, strict=False):
        module[part] = name
    for name, part in zip(CELL_TYPES, parts[len(MODULES) :], strict=False):
        marker[part] = name
    loading = np.where(module != "", rng.uniform(0.5, 0.9, GENES), 0.0)
    loadings = (module[:, None] == np.array(MODULES)) * loading[:, None]  # (gene, module)
    level = np.where(module + marker != "", rng.normal(0.9, 0.4, GENES), rng.normal(-0.3, 1.0, GENES))
    level[np.isin(names, MITOCHONDRIAL)] = 1.5
    fold = rng.uniform(1.5, 2.5, GENES)
    profiles = {kind: _share(level + np.where(marker == kind, fold, 0.0) - (marker != "")) for kind in CELL_TYPES}
    table = pd.DataFrame({"gene": names, "module": module, "loading": loading, "marker_of": marker, "family": families})
    table["risk"] = table["module"] == RISK_MODULE
    return GeneModel(table=table, loadings=loadings, profiles=profiles)


def gene_names(*, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Names (gene,) and functional family (gene,): some real symbols, ``GENE0001`` and so on otherwise."""
    names = np.array([f"GENE{number:04d}" for number in range(1, GENES + 1)], dtype=object)
    families = np.full(GENES, "", dtype=object)
    known = {symbol: family for family, symbols in FAMILIES.items() for symbol in symbols}
    known |= dict.fromkeys(MITOCHONDRIAL, "")
    places = rng.choice(GENES, len(known), replace=False)
    names[places] = list(known)
    families[places] = list(known.values())
    return names, families


def _share(level: np.ndarray) -> np.ndarray:
    return np.exp(level) / np.exp(level).sum()
