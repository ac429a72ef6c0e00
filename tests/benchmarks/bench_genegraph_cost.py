"""CPU time and memory of one MuSe-GNN training step.

Usage: python tests/benchmarks/bench_genegraph_cost.py [graphs genes decoder]
With no case given: all of them, and how CPU time grows with the genes. Graphs have 500 cells, 70 % of the genes in
common, and an edge for 5 % of the pairs. The published code took 2.6 CPU s and 2.3 GB for 4 x 1,000 (0.47 s and 1.4 GB
with its contrastive loss mended), 5.3 s and 5.1 GB for 8 x 2,000.
"""

import math
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = [
    (4, 500, "bilinear"),
    (4, 1000, "bilinear"),
    (4, 2000, "bilinear"),
    (4, 4000, "bilinear"),
    (8, 2000, "bilinear"),
    (4, 1000, "mlp"),
    (4, 2000, "mlp"),
]
LIMITS = {(4, 1000, "bilinear"): (0.35, 1.0), (8, 2000, "bilinear"): (1.0, 2.5)}


def graphs_of(number: int, genes: int) -> list:
    """Random graphs with modules."""
    import numpy as np

    from histoweave.genegraph.graph import GeneGraph, symmetric

    made = []
    for i in range(number):
        rng = np.random.default_rng(i)
        names = np.array([f"c{g}" if g < 0.7 * genes else f"d{i}_{g}" for g in range(genes)])
        rows, columns = np.triu_indices(genes, 1)
        edge = rng.random(len(rows)) < 0.05
        adjacency = symmetric(rows[edge], columns[edge], np.ones(edge.sum()), n_genes=genes)
        features = rng.standard_normal((genes, 500)).astype(np.float32)
        made.append(GeneGraph(f"g{i}", "scrna", "blood", "human", names, features, adjacency))
    return made


def one(number: int, genes: int, decoder: str) -> None:
    """Time steps of one case; peak memory is that of the process."""
    import torch

    from histoweave.genegraph.step import MuseGnnSettings, Step, build_model
    from histoweave.genegraph.train import TrainSettings, optimiser_of, partner_of

    torch.set_num_threads(1)
    settings = MuseGnnSettings(
        dim=32, tie=0.9, length=1.0, decoder=decoder, share="modality_tissue", attention="auto", dense_above=0.14,
        signed=False, edge_weight=1.0, similarity=1.0, contrastive=0.01, temperature=0.07, contrastive_genes=100,
    )  # fmt: skip
    training = TrainSettings(
        epochs=1, check_every=1, patience=0, lr_dataset=1e-3, lr_shared=1e-3, lr_decoder=1e-3, checkpoint_every=0,
        precision="float32", device="cpu",
    )  # fmt: skip
    graphs = graphs_of(number, genes)
    model = build_model(graphs, settings=settings, seed=0)
    optimiser = optimiser_of(model, settings=training)
    step = Step(graphs, settings=settings, precision="float32", device=torch.device("cpu"))
    rng, times = torch.Generator().manual_seed(0), []
    for i in [*range(number), *range(number)][: max(number, 6)]:
        begin = time.process_time()
        parts = step.losses(model, i, partner_of(i, number, rng), rng)
        optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        optimiser.step()
        times.append(time.process_time() - begin)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    limit = LIMITS.get((number, genes, decoder))
    told = f" (limits {limit[0]} s, {limit[1]} GB)" if limit else ""
    median = sorted(times)[len(times) // 2]
    print(f"{number} graphs x {genes} genes, {decoder}: {median:.3f} CPU s per step, peak {memory:.2f} GB{told}")


def growth(seconds: dict[tuple[int, int, str], float], decoder: str) -> str:
    """Power of the number of genes with which a step's CPU time grows, between neighbouring sizes of 4 graphs."""
    sizes = sorted(genes for number, genes, kind in seconds if number == 4 and kind == decoder)
    powers = []
    for small, large in zip(sizes[:-1], sizes[1:], strict=True):
        ratio = seconds[4, large, decoder] / seconds[4, small, decoder]
        powers.append(f"{small} to {large}: {math.log(ratio) / math.log(large / small):.2f}")
    return f"CPU time of a step grows with the power of the genes, {decoder} (2 = quadratic): {'; '.join(powers)}"


def main() -> None:
    """Run the case given, or each case in a process of its own."""
    if len(sys.argv) == 4:
        sys.path.insert(0, str(ROOT / "workflow/src"))
        one(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
        return
    seconds = {}
    for case in CASES:
        done = subprocess.run([sys.executable, __file__, *map(str, case)], check=True, capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
        seconds[case] = float(re.search(r"([\d.]+) CPU s per step", done.stdout)[1])
    for decoder in ("bilinear", "mlp"):
        print(growth(seconds, decoder))


if __name__ == "__main__":
    main()
