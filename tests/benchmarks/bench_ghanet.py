"""CPU seconds and memory of one training step of G-HANet (forward, loss, backward, Adam) at the published size.

Run with OMP_NUM_THREADS=1. Each bag size runs in a process of its own, so that its peak memory is its own.
The same step with plain layers, keys and values formed for every tile as published, is timed beside it.
"""

import resource
import subprocess
import sys
import time

SIZES = (1000, 5000, 15000)


def step_seconds(network, batch, targets, loss, *, steps: int = 3) -> float:
    """Least CPU seconds of a training step."""
    import torch

    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, fused=True)
    best = float("inf")
    for _ in range(steps):
        begin = time.process_time()
        optimizer.zero_grad()
        loss(network(batch), targets).backward()
        optimizer.step()
        best = min(best, time.process_time() - begin)
    return best


def plain(self, queries, context, mask):
    """Attention with keys and values of every tile."""
    import torch

    heads, width = self.heads, context.shape[2] // self.heads
    q = self.query(queries).unflatten(-1, (heads, width)).transpose(1, 2)
    k = self.key(context).unflatten(-1, (heads, width)).transpose(1, 2)
    v = self.value(context).unflatten(-1, (heads, width)).transpose(1, 2)
    scores = (q @ k.transpose(2, 3)) / width**0.5
    weights = self.dropout(torch.softmax(scores.masked_fill(~mask[:, None, None], -1e9), dim=3))
    return self.out((weights @ v).transpose(1, 2).flatten(2)), scores.transpose(1, 2)


def one(tiles: int, *, fold: bool) -> None:
    """Print CPU seconds and peak memory for one bag size."""
    import torch

    from histoweave.survival import tile_layers
    from histoweave.survival.attention import FoldedAttention
    from histoweave.survival.bags import Batch
    from histoweave.survival.ghanet import Ghanet, GhanetLoss, GhanetShape

    torch.set_num_threads(1)
    sizes = (23, 80, 125, 112, 359, 115)  # 24 % of the genes of BLCA's six families
    shape = GhanetShape(1024, sizes, 4, 512, 4, 2048, 0.25, 0.2, hyper_attention=True)
    if not fold:
        FoldedAttention.forward, tile_layers._LEAST_TILES = plain, tiles + 1
    network = Ghanet(shape).train()
    batch = Batch(torch.randn(1, tiles, 1024), torch.ones(1, tiles, dtype=torch.bool), {}, torch.ones(1), torch.ones(1))
    vectors = {"time_bin": torch.ones(1), "expression": torch.randn(1, sum(sizes))}
    targets = Batch(None, None, vectors, torch.ones(1), torch.ones(1))
    seconds = step_seconds(network, batch, targets, GhanetLoss(0.3, sizes))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{tiles:6d} tiles  {'folded' if fold else 'plain '}  {seconds:6.3f} CPU s  peak {memory:5.0f} MB", flush=True
    )


def main() -> None:
    """Run every size in a process of its own."""
    if len(sys.argv) == 3:
        one(int(sys.argv[1]), fold=sys.argv[2] == "folded")
        return
    for tiles in SIZES:
        for kind in ("folded", "plain"):
            subprocess.run([sys.executable, __file__, str(tiles), kind], check=True)


if __name__ == "__main__":
    main()
