"""Judge the trained embedding beside controls and baselines, on the same edges."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.genegraph import COMPARISONS, EMBEDDING, METRICS, SEED_METRICS, read_graph
from histoweave.genegraph.controls import BaselineSettings
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import HeldOutSettings, split_edges
from histoweave.genegraph.judge import MetricSettings, judge_all
from histoweave.genegraph.seeds import gains, over_seeds

log = logging.getLogger("histoweave")


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--graphs", type=Path, nargs="+", required=True, help="graphs (h5ad), as trained on")
    parser.add_argument("--embedding", type=Path, required=True, help="trained embedding (h5ad)")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="metrics by seed of other seeds (Parquet)")
    parser.add_argument("--out", type=Path, required=True, help="metrics over all seeds (Parquet)")
    parser.add_argument("--by-seed", type=Path, required=True, help="metrics of each seed (Parquet)")
    parser.add_argument("--comparisons", type=Path, required=True, help="gain over each other method (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(MetricSettings, args.settings["metrics"])
    baselines = steps.settings_of(BaselineSettings, args.settings["baselines"])
    held_out = steps.settings_of(HeldOutSettings, args.settings["held_out"])
    split = split_edges([GeneGraph(**read_graph(path)) for path in args.graphs], settings=held_out, seed=args.seed)
    trained = EMBEDDING.read(args.embedding)
    of_dataset = trained.obs["dataset"].to_numpy(str)
    embeddings = {graph.name: trained.X[of_dataset == graph.name] for graph in split.graphs}
    table = judge_all(embeddings, split, settings=settings, baselines=baselines, seed=args.seed, tell=tell)
    record = steps.provenance(
        "genegraph/measure_embedding",
        settings=args.settings,
        seed=args.seed,
        inputs={"graphs": args.graphs, "embedding": args.embedding, "others": args.others},
    )
    others = pd.concat([SEED_METRICS.empty(), *map(SEED_METRICS.read, args.others)], ignore_index=True)
    by_seed = pd.concat([table.assign(seed=args.seed), others], ignore_index=True)
    tables = [part.drop(columns="seed") for _, part in by_seed.groupby("seed", sort=False)]
    SEED_METRICS.write(by_seed, args.by_seed, provenance=record)
    METRICS.write(over_seeds(tables), args.out, provenance=record)
    COMPARISONS.write(gains(tables), args.comparisons, provenance=record)


def tell(table: pd.DataFrame) -> None:
    """Log the metrics of one method."""
    log.info("%s: %s", table["method"].iloc[0], dict(table[["metric", "value"]].round(4).itertuples(index=False)))


if __name__ == "__main__":
    steps.run(main)
