"""Build the gene graph of one dataset from its co-expression and residual expression."""

import logging
from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.expression import COEXPRESSION, RESIDUALS
from histoweave.formats.genegraph import write_graph
from histoweave.formats.ledger import Account
from histoweave.genegraph.build import GraphSettings, build_graph

log = logging.getLogger("histoweave")
COLUMNS = ["gene_a", "gene_b", "correlation", "edge"]


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--residuals", type=Path, required=True, help="residuals.h5ad of the dataset")
    parser.add_argument("--coexpression", type=Path, required=True, help="coexpression.parquet of the dataset")
    for name in ("dataset", "modality", "tissue", "species"):
        parser.add_argument(f"--{name}", required=True, help=f"{name}, as in datasets.tsv")
    parser.add_argument("--out", type=Path, required=True, help="graph (h5ad)")
    parser.add_argument("--ledger", type=Path, required=True, help="genes left out")
    args = parser.parse_args(argv)
    settings = steps.settings_of(GraphSettings, args.settings)
    residuals = RESIDUALS.read(args.residuals)
    graph = build_graph(
        residuals.X,
        residuals.var_names.to_numpy(str),
        COEXPRESSION.read(args.coexpression, columns=COLUMNS),
        name=args.dataset,
        modality=args.modality,
        tissue=args.tissue,
        species=args.species,
        settings=settings,
    )
    log.info("%s: %d genes, %.1f %% of the pairs have an edge", graph.name, len(graph.genes), 100 * graph.density)
    record = steps.provenance(
        "genegraph/build_graph",
        settings=settings,
        seed=args.seed,
        inputs={"residuals": args.residuals, "coexpression": args.coexpression},
    )
    write_graph(args.out, **vars(graph), provenance=record)
    account = Account("genegraph")
    account.items("gene", graph.name, n_in=residuals.n_vars, n_out=len(graph.genes))
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
