"""Files of the demo cohort: pyramidal slides, expression as a user would bring it, and the truth."""

from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import tifffile
from scipy import sparse

from histoweave.formats.files import replacing
from histoweave.formats.table import TableKind

TRUE_PATIENTS = TableKind(
    "true_patients",
    1,
    {"patient": "str", "trait": "float", "module_activity": "float", "age": "int", "linear_predictor": "float"},
)
TRUE_GENES = TableKind("true_genes", 1, {"gene": "str", "module": "str", "loading": "float", "marker_of": "str"})
TRUE_SPOTS = TableKind("true_spots", 1, {"dataset": "str", "spot": "str", "domain": "str"})
TRUE_SLIDES = TableKind(
    "true_slides",
    1,
    {"slide": "str", "patient": "str", "defect": "str", "nuclear_radius_um": "float", "nuclei_per_mm2": "float"},
)
TRUE_MIXTURES = TableKind("true_mixtures", 1, {"patient": "str", "cell_type": "str", "share": "float"})

TILE = 256
JPEG_QUALITY = 85


def write_slide(path: str | Path, levels: Sequence[np.ndarray], *, mpp: float | None, damaged: bool) -> None:
    """Write a pyramidal JPEG TIFF that OpenSlide opens.

    levels : pictures (row, column, 3) uint8, full resolution first; mpp : um per pixel, None for no resolution tag;
    damaged : keep only the first third of the file, as after a broken copy.
    """
    with replacing(path) as temporary:
        with tifffile.TiffWriter(temporary) as tiff:
            for number, level in enumerate(levels):
                scale = levels[0].shape[1] / level.shape[1]
                per_cm = None if mpp is None else (1e4 / (mpp * scale), 1e4 / (mpp * scale))
                tiff.write(
                    level,
                    tile=(TILE, TILE),
                    photometric="rgb",  # tifffile turns it into YCbCr itself; 'ycbcr' would store RGB as if it were
                    compression="jpeg",
                    compressionargs={"level": JPEG_QUALITY},
                    subfiletype=0 if number == 0 else 1,  # unmarked pages are no levels for OpenSlide
                    resolution=per_cm,
                    resolutionunit="NONE" if mpp is None else "CENTIMETER",
                    metadata=None,
                )
        if damaged:
            with temporary.open("r+b") as file:
                file.truncate(temporary.stat().st_size // 3)


def write_counts(
    path: str | Path, counts: np.ndarray, *, obs: pd.DataFrame, genes: Sequence[str], positions: np.ndarray | None
) -> None:
    """Write raw counts (row, gene) as a user's h5ad; `obs` has the rows' names as its index."""
    data = ad.AnnData(
        X=sparse.csr_matrix(counts, dtype=np.float32), obs=obs, var=pd.DataFrame(index=pd.Index(genes, name="gene"))
    )
    if positions is not None:
        data.obsm["spatial"] = positions
    with replacing(path, seal=True) as temporary:
        data.write_h5ad(temporary, compression="gzip", compression_opts=1)
