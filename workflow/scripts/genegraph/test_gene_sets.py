"""Gene sets: which are over-represented in a module, and what the vectors know of them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.formats.genegraph import ENRICHMENT, GENE_EMBEDDING, MODULES, PROBES, vectors_of
from histoweave.formats.ledger import Account
from histoweave.formats.text import read_gmt
from histoweave.genegraph.enrichment import enrich
from histoweave.genegraph.genesets import GeneSetSettings, pair_auroc, term_probes, usable_sets
from histoweave.rng import generator

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--gene-embedding", type=Path, required=True, help="one vector per gene (Parquet)")
    parser.add_argument("--modules", type=Path, required=True, help="module of each gene (Parquet)")
    parser.add_argument("--gmt", type=Path, required=True, help="gene sets (GMT)")
    parser.add_argument("--enrichment", type=Path, required=True, help="gene sets in modules (Parquet)")
    parser.add_argument("--probes", type=Path, required=True, help="a classifier per gene set (Parquet)")
    parser.add_argument("--ledger", type=Path, required=True, help="gene sets left out")
    args = parser.parse_args(argv)
    settings = steps.settings_of(GeneSetSettings, args.settings)
    embedding, modules = GENE_EMBEDDING.read(args.gene_embedding), MODULES.read(args.modules)
    genes, vectors = embedding["gene"].to_numpy(str), vectors_of(embedding)
    given = read_gmt(args.gmt, key="genegraph.gene_sets.gmt")
    sets, left_out = usable_sets(given, genes, settings=settings)
    inputs = {"gene_embedding": args.gene_embedding, "modules": args.modules, "gmt": args.gmt}
    record = steps.provenance("genegraph/test_gene_sets", settings=settings, seed=args.seed, inputs=inputs)
    found = enrich(modules.set_index("gene").loc[genes].reset_index(), sets)
    found["found"] = found["q_value"] < settings.fdr
    log.info("%d of %d terms of modules at FDR %g", found["found"].sum(), len(found), settings.fdr)
    ENRICHMENT.write(found, args.enrichment, provenance=record, fdr=settings.fdr)
    random = generator(args.seed, "genegraph/random_vectors").standard_normal(vectors.shape)
    parts = []
    for method, made in (("musegnn", vectors), ("random_per_gene", random)):
        pairs = pd.DataFrame({"term": ["(pairs)"], "n_genes": [len(np.unique(np.concatenate(list(sets.values()))))]})
        pairs = pairs.assign(auroc=pair_auroc(made, sets), average_precision=np.nan)
        probes = term_probes(made, sets, folds=settings.folds, seed=args.seed)
        parts.append(pd.concat([pairs, probes], ignore_index=True).assign(method=method))
    PROBES.write(pd.concat(parts, ignore_index=True), args.probes, provenance=record)
    account = Account("genegraph")
    account.items("gene set", args.gmt.name, n_in=len(given), n_out=len(sets))
    account.leave_out("gene set", args.gmt.name, left_out, "too few or too many of its genes are embedded")
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
