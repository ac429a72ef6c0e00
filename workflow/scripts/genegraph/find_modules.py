"""One vector per gene, and per gene and tissue; modules of genes; each gene's nearest genes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.genegraph import (
    EMBEDDING,
    GENE_EMBEDDING,
    MODULES,
    NEIGHBOURS,
    with_vectors,
    write_gene_vectors,
)
from histoweave.genegraph.modules import ModuleSettings, average_by, find_modules, gene_vectors, nearest_genes


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding of all datasets (h5ad)")
    parser.add_argument("--gene-embedding", type=Path, required=True, help="one vector per gene (Parquet)")
    parser.add_argument("--gene-vectors", type=Path, required=True, help="the same for other tools (h5ad)")
    parser.add_argument("--tissue-embedding", type=Path, required=True, help="one vector per gene and tissue (Parquet)")
    parser.add_argument("--modules", type=Path, required=True, help="module and place of each gene (Parquet)")
    parser.add_argument("--neighbours", type=Path, required=True, help="nearest genes of each gene (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(ModuleSettings, args.settings)
    embedding = EMBEDDING.read(args.embedding)
    rows = embedding.obs.reset_index(drop=True).astype(str)
    genes, vectors = gene_vectors(embedding.X, rows, tissues=settings.tissues)
    by_tissue = with_vectors(*average_by(embedding.X, rows[["gene", "tissue"]]))
    record = steps.provenance(
        "genegraph/find_modules", settings=settings, seed=args.seed, inputs={"embedding": args.embedding}
    )
    GENE_EMBEDDING.write(with_vectors(pd.DataFrame({"gene": genes}), vectors), args.gene_embedding, provenance=record)
    GENE_EMBEDDING.write(by_tissue, args.tissue_embedding, provenance=record)
    modules = find_modules(genes, vectors, settings=settings, seed=args.seed)
    MODULES.write(modules, args.modules, provenance=record)
    write_gene_vectors(args.gene_vectors, vectors, modules, provenance=record)
    nearest = nearest_genes(genes, vectors, number=settings.listed_neighbours)
    NEIGHBOURS.write(nearest, args.neighbours, provenance=record)


if __name__ == "__main__":
    steps.run(main)
