"""Leave out the cells and genes that cannot be analysed, and say why."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.expression.blocks import Kept, Subset, depths
from histoweave.expression.gene_activity import Activity, PeakSettings, is_peaks, map_peaks
from histoweave.expression.qc import QcSettings, inspect
from histoweave.formats.expression import CountsFile, leave_out, read_annotation, write_counts
from histoweave.formats.ledger import Account

ABOUT = ("dataset", "modality", "tissue", "species")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="h5ad with raw counts in X")
    for name in ABOUT:
        parser.add_argument(f"--{name}", required=name != "species", default="", help=f"{name} as in datasets.tsv")
    parser.add_argument("--cell-type-column", default="", help="column of obs with the cell types; empty for none")
    parser.add_argument("--annotation", type=Path, help="TSV of genes, to sum peaks to gene activity")
    parser.add_argument("--out", type=Path, required=True, help="counts.h5ad")
    parser.add_argument("--ledger", type=Path, required=True, help="cells and genes left out")
    args = parser.parse_args(argv)
    settings = steps.settings_of(QcSettings, args.settings["qc"])
    inputs, memory_gb = {"data": args.data, "annotation": args.annotation}, args.settings["memory_gb"]
    record = steps.provenance("expression/qc_counts", settings=args.settings, seed=args.seed, inputs=inputs)
    file, account = CountsFile(args.data, memory_gb=memory_gb), Account("expression")
    counts, genes, source = Kept(file, most_gb=memory_gb / 4), file.genes, str(args.data)
    if args.modality == "scatac" and is_peaks(genes):
        table, peaks = read_annotation(args.annotation, source=source), args.settings["peaks"]
        found = map_peaks(genes, table, source=source, upstream_bp=steps.settings_of(PeakSettings, peaks).upstream_bp)
        leave_out(account, "peak", args.dataset, genes, np.where(found.mapped, "", "lies in no gene"))
        steps.log.info("%.1f %% of %d peaks lie in no gene", 100 * np.mean(~found.mapped), len(genes))
        counts, genes = Activity(counts, found), found.genes
    coords = file.coordinates() if args.modality == "spatial" else None
    who = {"cells": file.cells, "genes": genes, "coords": coords, "modality": args.modality, "source": source}
    tally, found = inspect(counts, settings=settings, **who)
    kept = Subset(counts, cells=found.cells, genes=np.flatnonzero(found.genes))
    own = {"depth": depths(kept), "n_genes": tally.genes[found.cells], "mito_percent": tally.mito_percent[found.cells]}
    write_counts(
        args.out,
        kept,
        obs=file.described(args.cell_type_column)[found.cells].assign(**own),
        var=pd.DataFrame(index=genes[found.genes]),
        obsm={"spatial": coords[found.cells]} if coords is not None else {},
        uns={name: getattr(args, name) for name in ABOUT},
        provenance=record,
    )
    leave_out(account, "cell", args.dataset, file.cells, found.cell_reasons)
    leave_out(account, "gene", args.dataset, genes, found.gene_reasons)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
