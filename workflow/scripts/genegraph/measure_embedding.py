"""Judge the trained embedding beside controls and baselines, on the same edges."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.genegraph import EMBEDDING, METRICS, read_graph
from histoweave.genegraph.controls import METHODS, BaselineSettings
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import HeldOutSettings, split_edges
from histoweave.genegraph.judge import MetricSettings, judge

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--graphs", type=Path, nargs="+", required=True, help="graphs (h5ad), as trained on")
    parser.add_argument("--embedding", type=Path, required=True, help="trained embedding (h5ad)")
    parser.add_argument("--out", type=Path, required=True, help="metrics (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(MetricSettings, args.settings["metrics"])
    baselines = steps.settings_of(BaselineSettings, args.settings["baselines"])
    held_out = steps.settings_of(HeldOutSettings, args.settings["held_out"])
    split = split_edges([GeneGraph(**read_graph(path)) for path in args.graphs], settings=held_out, seed=args.seed)
    names = [graph.name for graph in split.graphs]
    trained = EMBEDDING.read(args.embedding)
    of_dataset = trained.obs["dataset"].to_numpy(str)
    found = {"musegnn": {name: trained.X[of_dataset == name] for name in names}}
    for method in settings.methods:
        made = METHODS[method](split.graphs, dim=trained.n_vars, settings=baselines, seed=args.seed)
        found[method] = dict(zip(names, made, strict=True))
    parts = []
    for method, embeddings in found.items():
        parts.append(judge(method, embeddings, split, settings=settings, seed=args.seed))
        log.info("%s: %s", method, dict(parts[-1][["metric", "value"]].round(4).itertuples(index=False)))
    record = steps.provenance(
        "genegraph/measure_embedding",
        settings=args.settings,
        seed=args.seed,
        inputs={"graphs": args.graphs, "embedding": args.embedding},
    )
    METRICS.write(pd.concat(parts, ignore_index=True), args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
