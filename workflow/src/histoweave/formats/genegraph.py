"""Files of the gene-graph stage."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoweave.errors import InputError
from histoweave.formats.files import replacing
from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.table import TableKind

log = logging.getLogger("histoweave")

GRAPH = MatrixKind("gene_graph", 1, slots=("obsp/coexpression", "uns/dataset", "uns/tissue", "uns/modality"))
"""One dataset: obs = genes; X (gene, feature); ``obsp['coexpression']`` edges with the correlation as weight."""

EMBEDDING = MatrixKind("gene_graph_embedding", 1, obs=("gene", "dataset", "tissue", "modality"))
"""X (row, dim); a row is a gene in a dataset."""

GENE_VECTORS = MatrixKind("gene_vectors", 1, obs=("module",), slots=("obsm/X_umap",))
"""X (gene, dim) under the genes' names, for other tools: ``obs['module']``, and the picture in ``obsm['X_umap']``."""

GENE_EMBEDDING = TableKind("gene_embedding", 1, {"gene": "str"})
"""One vector per gene: ``e0``, ``e1``, ... beside the name; with ``tissue`` as well: one per gene and tissue."""

MODULES = TableKind("gene_modules", 1, {"gene": "str", "module": "str", "x": "float", "y": "float"})
"""Module of each gene (``none`` for small groups), and its place in a picture of the embedding."""

NEIGHBOURS = TableKind("gene_neighbours", 1, {"gene": "str", "rank": "int", "neighbour": "str", "cosine": "float"})

_VALUE = {"method": "str", "metric": "str", "value": "float", "lower": "float", "upper": "float"}

METRICS = TableKind("genegraph_metrics", 1, _VALUE | {"seeds": "int"})
"""Means over ``seeds``; ``lower`` and ``upper`` bound the 95 % interval where there is one."""

SEED_METRICS = TableKind("genegraph_metrics_by_seed", 1, _VALUE | {"seed": "int"})

COMPARISONS = TableKind(
    "genegraph_comparisons",
    1,
    {"method": "str", "metric": "str", "difference": "float", "lower": "float", "upper": "float", "seeds": "int"},
)
"""What the trained embedding has over each other method, paired by seed."""

TRAINING = TableKind("genegraph_training", 1, {"epoch": "int", "part": "str", "value": "float"})
"""Mean of each part of the loss, and the validation AUC where it was looked at, by epoch."""

ENRICHMENT = TableKind(
    "module_enrichment",
    1,
    {
        "module": "str",
        "term": "str",
        "overlap": "int",
        "module_genes": "int",
        "term_genes": "int",
        "rich_factor": "float",
        "fold": "float",
        "p_value": "float",
        "q_value": "float",
        "genes": "str",
        "found": "bool",
    },
)
"""Gene sets in modules, best first; ``genes`` joined by a space; ``found``: below the false discovery rate set."""

PROBES = TableKind(
    "gene_set_probes",
    1,
    {"method": "str", "term": "str", "n_genes": "int", "auroc": "float", "average_precision": "float"},
)
"""A linear classifier per gene set; the term ``(pairs)`` is the AUROC of the cosine for two genes sharing a set."""

DIFFERENTIAL = TableKind(
    "differential_coexpression",
    1,
    {
        "gene": "str",
        "lost_neighbours": "float",
        "p_lost_neighbours": "float",
        "q_lost_neighbours": "float",
        "moved": "float",
        "p_moved": "float",
        "q_moved": "float",
    },
)
"""Change of each gene between two conditions; no p where there is no null distribution."""

FUNCTION_SCORES = TableKind(
    "gene_function_scores",
    1,
    {"classifier": "str", "label": "str", "n_genes": "int", "auroc": "float", "average_precision": "float"},
)

FUNCTION = TableKind(
    "gene_function",
    1,
    {"gene": "str", "label": "str", "classifier": "str", "predicted": "str", "probability": "float"},
)
"""Out-of-fold predictions."""

ORTHOLOGY = TableKind(
    "orthologue_agreement",
    1,
    {"species_a": "str", "species_b": "str", "measure": "str", "value": "float", "random": "float"},
)


def write_graph(
    path: str | Path,
    *,
    name: str,
    modality: str,
    tissue: str,
    species: str,
    genes: np.ndarray,
    features: np.ndarray,
    adjacency: sparse.csr_array,
    provenance: Mapping,
) -> None:
    """Write a GRAPH file from the parts of a gene graph."""
    data = ad.AnnData(
        features,
        obs=pd.DataFrame(index=pd.Index(genes, name="gene")),
        var=pd.DataFrame(index=[f"f{i}" for i in range(features.shape[1])]),
        obsp={"coexpression": sparse.csr_matrix(adjacency)},
        uns={"dataset": name, "modality": modality, "tissue": tissue, "species": species},
    )
    GRAPH.write(data, path, provenance=provenance)


def read_graph(path: str | Path) -> dict[str, object]:
    """Parts of a gene graph, by name, as `write_graph` takes them."""
    data = GRAPH.read(path)
    return {
        "name": str(data.uns["dataset"]),
        "modality": str(data.uns["modality"]),
        "tissue": str(data.uns["tissue"]),
        "species": str(data.uns["species"]),
        "genes": data.obs_names.to_numpy(str),
        "features": np.asarray(data.X, dtype=np.float32),
        "adjacency": sparse.csr_array(data.obsp["coexpression"]),
    }


def embedding_columns(dim: int) -> list[str]:
    """Names of the columns of a vector: ``e0``, ``e1``, ..."""
    return [f"e{i}" for i in range(dim)]


def vectors_of(frame: pd.DataFrame) -> np.ndarray:
    """(row, dim) float32 vectors of a GENE_EMBEDDING table."""
    width = sum(name.startswith("e") and name[1:].isdigit() for name in frame.columns)
    return frame[embedding_columns(width)].to_numpy(np.float32)


def with_vectors(keys: pd.DataFrame, vectors: np.ndarray) -> pd.DataFrame:
    """GENE_EMBEDDING table of `keys` (one or more columns) and `vectors` (row, dim)."""
    columns = pd.DataFrame(vectors, columns=embedding_columns(vectors.shape[1]), index=keys.index)
    return pd.concat([keys, columns], axis=1)


def write_embedding(path: str | Path, vectors: np.ndarray, rows: pd.DataFrame, *, provenance: Mapping) -> None:
    """Write an EMBEDDING file; rows : ``gene``, ``dataset``, ``tissue``, ``modality``, one per vector."""
    obs = rows.set_index(pd.Index(rows["dataset"] + ":" + rows["gene"], name="row"))
    data = ad.AnnData(vectors, obs=obs, var=pd.DataFrame(index=embedding_columns(vectors.shape[1])))
    EMBEDDING.write(data, path, provenance=provenance)


def write_gene_vectors(path: str | Path, vectors: np.ndarray, modules: pd.DataFrame, *, provenance: Mapping) -> None:
    """Write a GENE_VECTORS file; vectors : (gene, dim); modules : MODULES table of the same genes."""
    obs = modules[["module"]].set_index(pd.Index(modules["gene"], name="gene"))
    place = modules[["x", "y"]].to_numpy(np.float32)
    var = pd.DataFrame(index=embedding_columns(vectors.shape[1]))
    GENE_VECTORS.write(ad.AnnData(vectors, obs=obs, var=var, obsm={"X_umap": place}), path, provenance=provenance)


def write_weights(path: str | Path, tensors: Mapping[str, np.ndarray], meta: Mapping) -> None:
    """Write arrays to `path` (safetensors) and `meta` beside it as JSON of the same name."""
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        save_file({name: np.array(value, order="C") for name, value in tensors.items()}, temporary)
    with replacing(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(dict(meta), sort_keys=True, indent=1) + "\n")


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and meta that `write_weights` wrote; raises InputError if either is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path), json.loads(Path(path).with_suffix(".json").read_text())
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        msg = f"{path} or the .json beside it cannot be read ({str(error).splitlines()[0]}). Remove both and run again."
        raise InputError(msg) from error


class StoredRun:
    """Checkpoint file of one run; one of another run (other settings, seed or inputs) is not used.

    path : one safetensors file, arrays and JSON together, so that a kill cannot part them; provenance : of the run
    """

    def __init__(self, path: Path, provenance: Mapping) -> None:
        self.path, self.provenance = path, json.loads(json.dumps(dict(provenance)))

    def write(self, tensors: Mapping[str, np.ndarray], meta: Mapping) -> None:
        """Write a checkpoint; the last one is kept until the new one is whole."""
        from safetensors.numpy import save_file

        text = json.dumps({**meta, "provenance": self.provenance})
        with replacing(self.path) as temporary:
            arrays = {name: np.array(value, order="C") for name, value in tensors.items()}
            save_file(arrays, temporary, metadata={"meta": text})

    def read(self) -> tuple[dict[str, np.ndarray], dict] | None:
        """Checkpoint of this run, or None; raises InputError if it is damaged."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                meta = json.loads((file.metadata() or {})["meta"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            msg = f"the checkpoint {self.path} is damaged ({str(error).splitlines()[0]}). Remove it and run again."
            raise InputError(msg) from error
        same = meta["provenance"] == self.provenance
        log.info("going on after epoch %d" if same else "the checkpoint (epoch %d) is of another run", meta["epoch"])
        return (tensors, meta) if same else None

    def remove(self) -> None:
        """Remove the checkpoint of a run that has ended."""
        self.path.unlink(missing_ok=True)
