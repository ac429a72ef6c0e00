"""Find the genes whose expression follows the tissue's geometry, by SPARK-X."""

import logging
from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.expression.sparkx import SparkxSettings, rank_genes, sparkx
from histoweave.formats.expression import COUNTS, SPATIAL_GENES, CountsFile, covariates_of, read_header

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--counts", type=Path, required=True, help="counts.h5ad of a spatial dataset")
    parser.add_argument("--out", type=Path, required=True, help="spatial_genes.parquet")
    args = parser.parse_args(argv)
    settings = steps.settings_of(SparkxSettings, args.settings["sparkx"])
    header = read_header(args.counts, COUNTS)
    counts = CountsFile(args.counts, memory_gb=args.settings["memory_gb"])
    test = sparkx(
        counts,
        counts.coordinates(),
        option=settings.option,
        pvalue=settings.pvalue,
        rank_deficient=settings.rank_deficient,
        covariates=covariates_of(header.obs, settings.covariates, key="expression.sparkx.covariates"),
        depth=header.obs["depth"].to_numpy(),
    )
    dropped = [name for name, rank in zip(test.kernels, test.ranks, strict=True) if rank == 0]
    if dropped:
        log.info(
            "%d of %d kernels are left out, rank-deficient: %s", len(dropped), len(test.kernels), ", ".join(dropped)
        )
    table = test.table.assign(gene=counts.genes, rank=rank_genes(test.table, counts.genes))
    record = steps.provenance(
        "expression/rank_spatial_genes", settings=settings, seed=args.seed, inputs={"counts": args.counts}
    )
    SPATIAL_GENES.write(table, args.out, provenance=record, kernels=list(test.kernels), kernels_dropped=dropped)


if __name__ == "__main__":
    steps.run(main)
