"""Estimate the co-expression of the chosen genes, free of sequencing depth, by CS-CORE."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.expression.blocks import Kept, Subset
from histoweave.expression.cscore import CscoreSettings, EdgeSettings, cscore, upper_triangle
from histoweave.expression.cscore_covariates import cscore_with_covariates
from histoweave.formats import expression as files
from histoweave.formats.ledger import Account


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--counts", type=Path, required=True, help="counts.h5ad")
    parser.add_argument("--residuals", type=Path, required=True, help="residuals.h5ad, whose genes are taken")
    parser.add_argument("--out", type=Path, required=True, help="coexpression.parquet, every pair of genes once")
    parser.add_argument("--genes", type=Path, required=True, help="coexpression_genes.parquet, moments and flags")
    parser.add_argument("--ledger", type=Path, required=True, help="genes without a correlation")
    args = parser.parse_args(argv)
    settings = steps.settings_of(CscoreSettings, args.settings["cscore"])
    edges = steps.settings_of(EdgeSettings, args.settings["edges"])
    inputs = {"counts": args.counts, "residuals": args.residuals}
    record = steps.provenance("expression/estimate_coexpression", settings=args.settings, seed=args.seed, inputs=inputs)

    header = files.read_header(args.counts, files.COUNTS)
    memory_gb = args.settings["memory_gb"]
    counts = files.CountsFile(args.counts, memory_gb=memory_gb)
    genes = files.read_header(args.residuals, files.RESIDUALS).var_names.to_numpy(dtype=str)
    chosen = Subset(counts, cells=None, genes=pd.Index(counts.genes).get_indexer(genes))
    chosen = Kept(chosen, most_gb=memory_gb / 4)
    depth = header.obs["depth"].to_numpy()
    covariates = files.covariates_of(header.obs, settings.covariates, key="expression.cscore.covariates")
    if covariates is None:
        result = cscore(chosen, depth, convergence=settings.convergence)
    else:
        result = cscore_with_covariates(chosen, depth, covariates, convergence=settings.convergence)
    pairs = upper_triangle(result, edges=edges)
    table = pd.DataFrame({"gene_a": genes[pairs.pop("a")], "gene_b": genes[pairs.pop("b")], **pairs})
    done = {"updates": result.moments.updates, "last_change": result.moments.change}
    files.COEXPRESSION.write(table, args.out, provenance=record, convergence=done)
    moments = {"mean": result.moments.mean, "variance": result.moments.variance, "flag": result.flags}
    files.COEXPRESSION_GENES.write(pd.DataFrame({"gene": genes, **moments}), args.genes, provenance=record)
    account = Account("expression")
    reasons = np.where(result.flags == "", "", "no correlation: " + result.flags)
    files.leave_out(account, "gene", f"{header.uns['dataset']}, co-expression", genes, reasons)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
