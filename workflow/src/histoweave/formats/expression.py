"""Files of the expression stage, and reading of count matrices in blocks of cells.

``counts.h5ad``, ``residuals.h5ad``, ``spatial_genes.parquet`` and ``coexpression.parquet`` are
written here; a user's own h5ad is read through `CountsFile`, which never loads all of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse

from histoweave.errors import InputError, shorten
from histoweave.formats.files import check_seal, replacing
from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.ledger import Account
from histoweave.formats.table import TableKind

COUNTS = MatrixKind("expression_counts", 1, obs=("depth", "n_genes"))
"""Raw counts after quality control: X (cell, gene) CSR float32; ``obs.depth`` = counts per cell over the kept genes;
``obs.cell_type`` where given; ``obsm['spatial']`` of spots; ``uns``: dataset, modality, tissue, species."""

RESIDUALS = MatrixKind("expression_residuals", 1, var=("rank", "theta", "intercept", "slope", "residual_variance"))
"""Pearson residuals of the chosen genes: X (cell, gene) float32, clipped and centred."""

SPATIAL_GENES = TableKind(
    "spatial_genes", 1, {"gene": "str", "p_value": "float", "q_value": "float", "rank": "int", "constant": "bool"}
)
"""One row per gene, one further column ``p_<kernel>`` per kernel."""

COEXPRESSION = TableKind(
    "coexpression",
    1,
    {
        "gene_a": "str",
        "gene_b": "str",
        "correlation": "float",
        "statistic": "float",
        "p_value": "float",
        "q_value": "float",
        "edge": "bool",
        "defined": "bool",
    },
)
"""Every pair of genes once (upper triangle); ``edge`` by the rule of the settings; ``defined`` is false where a gene's
variance is not positive, so that correlation 0 is not a finding."""

COEXPRESSION_GENES = TableKind(
    "coexpression_genes", 1, {"gene": "str", "mean": "float", "variance": "float", "flag": "str"}
)
"""One row per gene of the co-expression: moments per unit of depth, and why a gene has no correlation."""

_BYTES_PER_BLOCK_SHARE = 32


class CountsFile:
    """A count matrix in an h5ad file, read in blocks of cells (a ``Blocks`` of the expression stage).

    path : h5ad with X (cell, gene), CSR or dense; CSC only where it fits into `memory_gb`
    memory_gb : a dense float64 block takes at most 1/32 of it
    """

    def __init__(self, path: str | Path, *, memory_gb: float) -> None:
        self.path, self.memory_gb = Path(path), memory_gb
        try:
            check_seal(self.path)
            with h5py.File(self.path) as file:
                self._open(file)
        except (OSError, KeyError) as error:
            msg = (
                f"{path} is not a readable h5ad file ({str(error).splitlines()[0]}). Correct the path in datasets.tsv."
            )
            raise InputError(msg) from error
        budget = memory_gb * 2**30 / _BYTES_PER_BLOCK_SHARE
        self.cells_per_block = int(np.clip(budget // (8 * max(1, self.shape[1])), 16, 2**20))
        if self.encoding == "csc_matrix" and self.stored * 24 > memory_gb * 2**30:
            msg = f"{path}: X is stored by genes (CSC) and does not fit into expression.memory_gb={memory_gb:g}. "
            raise InputError(msg + "Write it by cells (CSR), or raise expression.memory_gb.")

    def _open(self, file: h5py.File) -> None:
        self.obs, self.var = read_elem(file["obs"]), read_elem(file["var"])
        self.obsm_keys = list(file["obsm"]) if "obsm" in file else []
        matrix = file["X"]
        self.encoding = str(matrix.attrs.get("encoding-type", "array"))
        self.stored = matrix["data"].shape[0] if isinstance(matrix, h5py.Group) else int(np.prod(matrix.shape))
        self.shape = (len(self.obs), len(self.var))
        self.cells, self.genes = (np.asarray(names.index, dtype=str) for names in (self.obs, self.var))

    def check_room(self, cells: int | None, *, bytes_per_count: int, remedy: str) -> None:
        """Raise InputError if the counts of `cells` cells (None: all), held at once, exceed `memory_gb`."""
        share = 1.0 if cells is None else min(1.0, cells / max(1, self.shape[0]))
        needed = self.stored * share * bytes_per_count / 2**30
        if needed > self.memory_gb:
            msg = f"{self.path}: {self.stored * share:.3g} counts held at once take {needed:.3g} GB, more than "
            raise InputError(msg + f"expression.memory_gb={self.memory_gb:g}. Raise it, or {remedy}.")

    def labels(self, column: str) -> np.ndarray:
        """Column of obs (cell,) as text, ``unassigned`` where empty; raises InputError if it is not there."""
        if column not in self.obs:
            found = shorten([str(name) for name in self.obs]) or "none"
            msg = (
                f"{self.path}: obs has no column '{column}' (found: {found}). Correct cell_type_column in datasets.tsv."
            )
            raise InputError(msg)
        return self.obs[column].astype(object).where(self.obs[column].notna(), "unassigned").astype(str).to_numpy()

    def described(self, cell_type_column: str) -> pd.DataFrame:
        """Numeric columns of obs, which later steps may use as covariates, and ``cell_type`` if a column is named."""
        kept = self.obs.select_dtypes("number").set_axis(self.cells, axis=0)
        return kept.assign(cell_type=self.labels(cell_type_column)) if cell_type_column else kept

    def coordinates(self) -> np.ndarray:
        """``obsm['spatial']`` (cell, axis) of a spatial dataset."""
        return self.obsm("spatial")

    def obsm(self, key: str) -> np.ndarray:
        """``obsm[key]`` as a float array (cell, axis); raises InputError if it is not there."""
        if key not in self.obsm_keys:
            found = shorten(self.obsm_keys) or "none"
            msg = f"{self.path}: a spatial dataset needs coordinates in obsm['{key}'] (found: {found}). Add them."
            raise InputError(msg)
        with h5py.File(self.path) as file:
            return np.asarray(read_elem(file[f"obsm/{key}"]), dtype=np.float64)

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, counts as CSR float64) from the first cell to the last."""
        with h5py.File(self.path) as file:
            matrix = file["X"]
            source = sparse_dataset(matrix) if isinstance(matrix, h5py.Group) else matrix
            if self.encoding == "csc_matrix":
                source = source.to_memory().tocsr()
            for begin in range(0, self.shape[0], self.cells_per_block):
                rows = slice(begin, min(begin + self.cells_per_block, self.shape[0]))
                yield rows, sparse.csr_matrix(source[rows], dtype=np.float64)


def write_counts(
    path: str | Path,
    blocks: Iterable[tuple[slice, sparse.csr_matrix]],
    *,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    obsm: Mapping[str, np.ndarray],
    uns: Mapping[str, object],
    provenance: Mapping,
) -> None:
    """Write a COUNTS file block by block; the whole matrix is never in memory."""
    with replacing(path, seal=True) as temporary, h5py.File(temporary, "w") as file:
        empty = sparse.csr_matrix((0, len(var)), dtype=np.float32)
        # int64 row pointers from the start: appending never has to widen them
        empty.indptr = empty.indptr.astype(np.int64)
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "X", empty, dataset_kwargs={"compression": "gzip", "compression_opts": 1, "chunks": (2**16,)})
        for _, counts in blocks:
            sparse_dataset(file["X"]).append(counts.astype(np.float32))
        _write_rest(file, obs=obs, var=var, obsm=obsm, uns=_stamped(COUNTS, uns, provenance))


def write_residuals(
    path: str | Path,
    blocks: Iterable[tuple[slice, np.ndarray]],
    *,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    uns: Mapping[str, object],
    provenance: Mapping,
) -> None:
    """Write a RESIDUALS file, dense float32, block by block."""
    with replacing(path, seal=True) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        shape, packed = (len(obs), len(var)), {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        matrix = file.create_dataset("X", shape=shape, dtype=np.float32, chunks=True, **packed)
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for rows, values in blocks:
            matrix[rows] = values.astype(np.float32)
        _write_rest(file, obs=obs, var=var, obsm={}, uns=_stamped(RESIDUALS, uns, provenance))


def _stamped(kind: MatrixKind, uns: Mapping[str, object], provenance: Mapping) -> dict:
    stamp = {"format": kind.name, "format_version": kind.version}
    return {**uns, **stamp, "provenance": json.dumps(dict(provenance), sort_keys=True)}


def _write_rest(file: h5py.File, *, obs: pd.DataFrame, var: pd.DataFrame, obsm: Mapping, uns: Mapping) -> None:
    rest = {"obs": obs, "var": var, "obsm": dict(obsm), "uns": dict(uns)}
    for name, value in {**rest, "layers": {}, "obsp": {}, "varm": {}, "varp": {}}.items():
        write_elem(file, name, value)


def read_header(path: str | Path, kind: MatrixKind) -> ad.AnnData:
    """``obs``, ``var``, ``obsm`` and ``uns`` of a file of `kind`, without X; raises InputError as `kind.read` does."""
    data = kind.read(path, backed=True)
    header = ad.AnnData(obs=data.obs, var=data.var, obsm=dict(data.obsm), uns=dict(data.uns))
    data.file.close()
    return header


def leave_out(account: Account, kind: str, context: str, items: np.ndarray, reasons: np.ndarray) -> None:
    """Put into `account` the `items` of `kind` whose reason is not empty, and the counts in and out."""
    account.items(kind, context, n_in=len(items), n_out=int(np.sum(reasons == "")))
    for reason in sorted(set(reasons[reasons != ""])):
        account.leave_out(kind, context, items[reasons == reason].tolist(), reason)


def covariates_of(obs: pd.DataFrame, names: Sequence[str], *, key: str) -> np.ndarray | None:
    """Numeric columns `names` of obs as (cell, covariate), None for no names; `key` is the config key in messages."""
    if not names:
        return None
    missing = [name for name in names if name not in obs]
    if missing:
        msg = f"{key}: obs has no column {shorten(missing)} (found: {shorten([str(name) for name in obs])})."
        raise InputError(msg)
    text = [name for name in names if not pd.api.types.is_numeric_dtype(obs[name])]
    if text:
        msg = f"{key}: column {shorten(text)} is not numeric. Code it as numbers (0/1 for two groups)."
        raise InputError(msg)
    return obs[list(names)].to_numpy(dtype=np.float64)


def read_annotation(path: str | Path | None, *, source: str) -> pd.DataFrame:
    """Read a tab-separated table of genes with at least gene, chrom, start, end, strand, for the peaks of `source`."""
    if path is None:
        msg = f"{source} is given by peaks, and co-expression is between genes. Name a table of genes in "
        raise InputError(msg + "expression.peaks.annotation, or give gene activity.")
    try:
        return pd.read_csv(path, sep="\t", dtype={"gene": str, "chrom": str, "strand": str})
    except (OSError, ValueError) as error:
        msg = f"{path} is not a readable table ({str(error).splitlines()[0]}). Correct expression.peaks.annotation."
        raise InputError(msg) from error
