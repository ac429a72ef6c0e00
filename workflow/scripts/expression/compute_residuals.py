"""Choose genes and compute their Pearson residuals, free of sequencing depth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from histoweave import rng, steps
from histoweave.expression import residuals
from histoweave.expression.blocks import Kept
from histoweave.expression.hvg import HvgSettings
from histoweave.expression.sctransform import SctransformSettings
from histoweave.formats.expression import COUNTS, SPATIAL_GENES, CountsFile, leave_out, read_header, write_residuals
from histoweave.formats.ledger import Account


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--counts", type=Path, required=True, help="counts.h5ad")
    parser.add_argument("--spatial-genes", type=Path, help="spatial_genes.parquet: take these genes, by rank")
    parser.add_argument("--out", type=Path, required=True, help="residuals.h5ad")
    parser.add_argument("--ledger", type=Path, required=True, help="genes that were not chosen")
    args = parser.parse_args(argv)
    settings = steps.settings_of(SctransformSettings, args.settings["sctransform"])
    hvg = steps.settings_of(HvgSettings, args.settings["hvg"])
    header = read_header(args.counts, COUNTS)
    name, spatial = str(header.uns["dataset"]), args.spatial_genes is not None
    memory_gb, depth = args.settings["memory_gb"], header.obs["depth"].to_numpy()
    file = CountsFile(args.counts, memory_gb=memory_gb)
    file.check_room(**residuals.held_at_once(settings))
    counts, genes = Kept(file, most_gb=memory_gb / 4), file.genes

    draw = rng.generator(args.seed, "expression", "residuals", name)
    model = residuals.fit_model(counts, depth, genes, settings=settings, generator=draw)
    table = residuals.score_genes(counts, depth, model, genes, hvg=hvg)
    if spatial:
        ranked = SPATIAL_GENES.read(args.spatial_genes).set_index("gene")
        table["rank"] = ranked["rank"].where(~ranked["constant"]).reindex(table.index)
    chosen = residuals.choose(table, n_genes=hvg.n_genes)
    inputs = {"counts": args.counts, "spatial_genes": args.spatial_genes}
    record = steps.provenance("expression/compute_residuals", settings=args.settings, seed=args.seed, inputs=inputs)
    write_residuals(
        args.out,
        residuals.centred_blocks(counts, depth, model, genes=chosen, settings=settings, spatial=spatial),
        obs=header.obs,
        var=table.iloc[chosen].astype({"rank": np.int64}),
        uns={key: header.uns[key] for key in ("dataset", "modality", "tissue", "species")},
        provenance=record,
    )
    reasons = np.full(len(genes), f"found in fewer than {settings.min_cells} cells", dtype=object)
    reasons[model.genes] = f"not among the {hvg.n_genes} genes of highest rank"
    reasons[model.genes[chosen]] = ""
    account = Account("expression")
    leave_out(account, "gene", f"{name}, residuals", genes, reasons)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
