"""MuSe-GNN beside PCA and the joint spectral embedding on finished graphs, over seeds.

Usage: python tests/benchmarks/bench_genegraph_real.py epochs seeds graph.h5ad graph.h5ad ...
For each metric: mean, and the 95 % t interval over seeds of the difference to the joint spectral embedding.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow/src"), str(ROOT / "workflow/rules")]


def one(graphs: list, *, seed: int, epochs: int, sections: dict) -> "object":
    """Metrics of one seed: another split, other weights."""
    import pandas as pd
    import torch

    from histoweave.genegraph.controls import METHODS
    from histoweave.genegraph.heldout import split_edges
    from histoweave.genegraph.judge import judge
    from histoweave.genegraph.train import train

    split = split_edges(graphs, settings=sections["held_out"], seed=seed)
    trained = train(
        split, model_settings=sections["musegnn"], settings=sections["train"], seed=seed, device=torch.device("cpu")
    )
    found = {"musegnn": trained.embeddings}
    for name in ("pca", "joint_spectral"):
        made = METHODS[name](split.graphs, dim=sections["musegnn"].dim, settings=None, seed=seed)
        found[name] = {graph.name: z for graph, z in zip(split.graphs, made, strict=True)}
    tables = [judge(name, z, split, settings=sections["metrics"], seed=seed) for name, z in found.items()]
    return pd.concat(tables).assign(seed=seed, best_epoch=trained.best_epoch)


def main() -> None:
    """Run all seeds and print the table."""
    import numpy as np
    import pandas as pd
    import torch
    from hwrules.config import fill_defaults, load_schema
    from scipy.stats import t

    from histoweave import steps
    from histoweave.formats.genegraph import read_graph
    from histoweave.genegraph.graph import GeneGraph
    from histoweave.genegraph.heldout import HeldOutSettings
    from histoweave.genegraph.judge import MetricSettings
    from histoweave.genegraph.step import MuseGnnSettings
    from histoweave.genegraph.train import TrainSettings

    torch.set_num_threads(1)
    epochs, seeds = int(sys.argv[1]), int(sys.argv[2])
    config = fill_defaults({"train": {"epochs": epochs}}, load_schema(ROOT / "workflow/schemas/genegraph.schema.yaml"))
    kinds = {"held_out": HeldOutSettings, "musegnn": MuseGnnSettings, "train": TrainSettings, "metrics": MetricSettings}
    sections = {name: steps.settings_of(kind, config[name]) for name, kind in kinds.items()}
    graphs = [GeneGraph(**read_graph(path)) for path in sys.argv[3:]]
    table = pd.concat([one(graphs, seed=seed, epochs=epochs, sections=sections) for seed in range(1, seeds + 1)])
    wide = table.pivot_table(index=["metric", "seed"], columns="method", values="value")
    for metric, part in wide.groupby("metric"):
        line = f"{metric:16s}" + "".join(f" {name} {part[name].mean():.4f}" for name in part.columns)
        gain = (part["musegnn"] - part["joint_spectral"]).to_numpy()
        half = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        print(f"{line}  gain {gain.mean():+.4f} ({gain.mean() - half:+.4f} to {gain.mean() + half:+.4f})")


if __name__ == "__main__":
    main()
