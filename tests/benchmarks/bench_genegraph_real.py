"""MuSe-GNN as we train it, its parts and the published form beside controls, on finished graphs, over seeds.

Usage: python tests/benchmarks/bench_genegraph_real.py --seeds 1 2 3 4 5 --keep rows.parquet graph.h5ad graph.h5ad ...
Each seed leaves other edges out and draws other weights. Rows of earlier calls in ``--keep`` are not made again.

| row | what it is |
|---|---|
| musegnn | the defaults: bilinear decoder, genes tied within a group, vectors as long as a gene has partners |
| untied | the same weights without tie and length |
| mlp | the published decoder, trained like `untied`; `decoder_auc`: held-out edges scored by the decoder itself |
| musegnn_published | published decoder, learning rates, no stopping; ``--published-epochs`` of 2,000 |

For each metric: the mean over seeds with its 95 % t interval; then the paired gains of `musegnn` over each other row.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow/src"), str(ROOT / "workflow/rules")]

import numpy as np  # noqa: E402, the library lies beside this file
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from hwrules.config import fill_defaults, load_schema  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from histoweave import steps  # noqa: E402
from histoweave.formats.genegraph import read_graph  # noqa: E402
from histoweave.genegraph.controls import METHODS, BaselineSettings  # noqa: E402
from histoweave.genegraph.graph import GeneGraph  # noqa: E402
from histoweave.genegraph.heldout import HeldOutSettings, Split, split_edges  # noqa: E402
from histoweave.genegraph.judge import MetricSettings, judge  # noqa: E402
from histoweave.genegraph.published import train_published  # noqa: E402
from histoweave.genegraph.seeds import gains, over_seeds, with_overall  # noqa: E402
from histoweave.genegraph.step import MuseGnnSettings, Step, embed  # noqa: E402
from histoweave.genegraph.train import Trained, TrainSettings, train  # noqa: E402

KINDS = {
    "held_out": HeldOutSettings,
    "musegnn": MuseGnnSettings,
    "train": TrainSettings,
    "metrics": MetricSettings,
    "baselines": BaselineSettings,
}
CPU = torch.device("cpu")


def sections(changes: dict) -> dict:
    """Settings of the stage: the schema's defaults with `changes`."""
    config = fill_defaults(changes, load_schema(ROOT / "workflow/schemas/genegraph.schema.yaml"))
    return {name: steps.settings_of(kind, config[name]) for name, kind in KINDS.items()}


def without_tie(trained: Trained, split: Split, settings: MuseGnnSettings) -> dict:
    """Embeddings of the same weights as the layers give them."""
    plain = MuseGnnSettings(**(vars(settings) | {"tie": 0.0, "length": 0.0}))
    return embed(trained.model, Step(split.graphs, settings=plain, precision="float32", device=CPU))


def decoder_auc(trained: Trained, split: Split) -> float:
    """Mean AUC of held-out edges by the decoder's own logits, averaged over both directions of a pair."""
    found = []
    with torch.no_grad():
        for graph in split.graphs:
            logits = trained.model.decoder(graph.name)(torch.from_numpy(trained.embeddings[graph.name])).numpy()
            held = split.test[graph.name]
            score = logits[held.rows, held.columns] + logits[held.columns, held.rows]
            found.append(roc_auc_score(held.is_edge, score))
    return float(np.mean(found))


def one(graphs: list, *, seed: int, methods: list[str], epochs: dict, published_epochs: int) -> pd.DataFrame:
    """Metrics of one seed, with CPU seconds of each training."""
    ours = sections({"train": epochs})
    mlp = sections({"train": epochs, "musegnn": {"decoder": "mlp", "tie": 0, "length": 0}})
    split = split_edges(graphs, settings=ours["held_out"], seed=seed)
    names = [graph.name for graph in graphs]
    found, more = {}, []

    def timed(name: str, make: object) -> object:
        begin = time.process_time()
        made = make()
        more.append((name, "cpu_seconds", time.process_time() - begin))
        return made

    def trained_with(part: dict) -> Trained:
        return train(split, model_settings=part["musegnn"], settings=part["train"], seed=seed, device=CPU)

    trained = timed("musegnn", lambda: trained_with(ours))
    found |= {"musegnn": trained.embeddings, "untied": without_tie(trained, split, ours["musegnn"])}
    more.append(("musegnn", "best_epoch", trained.best_epoch))
    if "mlp" in methods:
        trained = timed("mlp", lambda: trained_with(mlp))
        found["mlp"] = trained.embeddings
        more += [("mlp", "best_epoch", trained.best_epoch), ("mlp", "decoder_auc", decoder_auc(trained, split))]
    if "musegnn_published" in methods:
        how = {"dim": ours["musegnn"].dim, "epochs": published_epochs, "seed": seed}
        made = timed("musegnn_published", lambda: train_published(split.graphs, **how))
        found["musegnn_published"] = dict(zip(names, made, strict=True))
    for name in [name for name in methods if name not in ("mlp", "musegnn_published")]:
        made = METHODS[name](split.graphs, dim=ours["musegnn"].dim, settings=ours["baselines"], seed=seed)
        found[name] = dict(zip(names, made, strict=True))
    table = pd.concat([judge(name, z, split, settings=ours["metrics"], seed=seed) for name, z in found.items()])
    more = pd.DataFrame(more, columns=["method", "metric", "value"])
    return pd.concat([with_overall(table), more], ignore_index=True).assign(seed=seed)


def main() -> None:
    """Run the seeds that are missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--keep", type=Path, help="Parquet file of the rows of all calls")
    parser.add_argument("--epochs", type=int, help="at most, of ours and of mlp; the default is the schema's")
    parser.add_argument("--published-epochs", type=int, default=2000)
    every = ["mlp", "musegnn_published", "random_per_gene", "pca", "joint_spectral"]
    parser.add_argument("--methods", nargs="*", default=every)
    parser.add_argument("graphs", type=Path, nargs="*")
    args = parser.parse_args()
    if not args.graphs:
        print("no graphs given: nothing to measure (graphs of a run lie in <results>/genegraph/graphs)")
        return
    torch.set_num_threads(1)
    rows = pd.read_parquet(args.keep) if args.keep and args.keep.exists() else pd.DataFrame({"seed": []})
    graphs = [GeneGraph(**read_graph(path)) for path in args.graphs]
    for seed in [seed for seed in args.seeds if seed not in set(rows["seed"])]:
        epochs = {"epochs": args.epochs} if args.epochs else {}
        made = one(graphs, seed=seed, methods=args.methods, epochs=epochs, published_epochs=args.published_epochs)
        rows = pd.concat([rows, made], ignore_index=True)
        if args.keep:
            rows.to_parquet(args.keep)
    tables = [part.drop(columns="seed") for _, part in rows.groupby("seed")]
    for title, table, value in (
        ("means over seeds", over_seeds(tables), "value"),
        ("gains of musegnn", gains(tables), "difference"),
    ):
        print(title)
        for row in table.sort_values(["metric", "method"]).to_dict("records"):
            inside = f"({row['lower']:+.4f} to {row['upper']:+.4f})"
            print(f"{row['metric']:16s} {row['method']:18s} {row[value]:+.4f} {inside} {row['seeds']:.0f} seeds")


if __name__ == "__main__":
    main()
