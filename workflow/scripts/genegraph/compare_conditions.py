"""Differential co-expression: which genes change their partners between two conditions."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.genegraph import DIFFERENTIAL, EMBEDDING, read_graph
from histoweave.genegraph.differential import DifferentialSettings, differential
from histoweave.genegraph.graph import GeneGraph
from histoweave.rng import generator


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--graphs", type=Path, nargs="+", required=True, help="graphs (h5ad)")
    parser.add_argument("--embedding", type=Path, required=True, help="embedding of all datasets (h5ad)")
    parser.add_argument("--out", type=Path, required=True, help="change per gene (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(DifferentialSettings, args.settings)
    graphs = [GeneGraph(**read_graph(path)) for path in args.graphs]
    embedding = EMBEDDING.read(args.embedding)
    of_dataset = embedding.obs["dataset"].to_numpy(str)
    found = differential(
        {graph.name: graph for graph in graphs},
        {graph.name: embedding.X[of_dataset == graph.name] for graph in graphs},
        settings=settings,
        rng=generator(args.seed, "genegraph/differential"),
    )
    inputs = {"graphs": args.graphs, "embedding": args.embedding}
    record = steps.provenance("genegraph/compare_conditions", settings=settings, seed=args.seed, inputs=inputs)
    DIFFERENTIAL.write(found, args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
