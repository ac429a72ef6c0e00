"""Path-GPTOmic in CPU seconds: scGPT beside torch's own encoder, an epoch of stage 2, and bags of 100,000 tiles.

Usage: PYTHONPATH=workflow/src OMP_NUM_THREADS=1 python tests/benchmarks/bench_path_gptomic.py [PART ...]
PART: scgpt, epoch, bag, long
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "src"), str(ROOT / "workflow" / "rules")]

from hwrules.config import fill_defaults, load_schema  # noqa: E402

from histoweave.steps import settings_of  # noqa: E402 - the path comes first
from histoweave.survival import path_gptomic, scgpt  # noqa: E402
from histoweave.survival.bags import PIECE  # noqa: E402
from histoweave.survival.interface import Context, Patients  # noqa: E402


def cpu_seconds(do: Callable, *, repeats: int = 1) -> float:
    """Least user and system time of `do` over `repeats`."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        do()
        found.append(time.process_time() - begin)
    return min(found)


def settings(**changes: object) -> path_gptomic.PathGptomicSettings:
    """Settings with the schema's defaults; `changes` at the top level."""
    schema = load_schema(ROOT / "workflow" / "schemas" / "path_gptomic.schema.yaml")
    return replace(settings_of(path_gptomic.PathGptomicSettings, fill_defaults({}, schema)), **changes)


def bench_scgpt(tokens: int = 1200, batch: int = 8) -> None:
    """Whole-human size with random weights, beside nn.TransformerEncoder of the same shape."""
    shape = scgpt.Shape(dim=512, layers=12, heads=8, hidden=512, n_bins=51, pad_value=-2.0)
    model = scgpt.ScGPT(shape, n_tokens=60697, heads=("decoder.", "mvc_decoder.")).eval()
    layer = nn.TransformerEncoderLayer(512, 8, 512, 0.2, batch_first=True)
    peer = nn.TransformerEncoder(layer, 12).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    ids = torch.randint(60694, (batch, tokens), generator=torch.Generator().manual_seed(0))
    values = torch.rand(batch, tokens) * 50
    embedded = torch.randn(batch, tokens, 512)
    with torch.inference_mode():
        model.encode(ids[:1, :50], values[:1, :50], None)
        peer(embedded[:1, :50])
        ours = cpu_seconds(lambda: model.encode(ids, values, None), repeats=2)
        theirs = cpu_seconds(lambda: peer(embedded), repeats=2)
    print(
        f"scGPT whole-human, {tokens} tokens, batch {batch}: {ours:.1f} CPU s; torch {theirs:.1f}; "
        f"ratio {ours / theirs:.2f} (at most 1.2)"
    )


def patients(n: int, tiles: int, features: int, genes: int = 1500) -> Patients:
    """`n` random patients; all bags share one array, so that memory does not rule."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(tiles + n, features)).astype(np.float32)
    return Patients(
        ids=tuple(f"P{k}" for k in range(n)),
        time_days=rng.exponential(1000, size=n) + 1,
        event=(rng.random(n) < 0.4).astype(int),
        bags=[shared[k : k + tiles] for k in range(n)],
        feature_names=tuple(f"f{k}" for k in range(features)),
        expression=rng.poisson(20, size=(n, genes)).astype(float),
        genes=tuple(f"G{k}" for k in range(genes)),
        expression_scale="counts",
        clinical=pd.DataFrame(index=range(n)),
    )


def context(cohort: Patients) -> Context:
    """Context with random gene vectors."""
    rng = np.random.default_rng(1)
    return Context(seed=0, names=("bench",), gene_embedding={gene: rng.normal(size=32) for gene in cohort.genes})


def fit(cohort: Patients, *, epochs: int, n_train: int) -> path_gptomic.FittedPathGptomic:
    """Fit one member for a number of epochs, without early stop."""
    own = settings(members=1)
    own = replace(own, training=replace(own.training, epochs=epochs, patience=0))
    parts = (cohort.subset(range(n_train)), cohort.subset(range(n_train, len(cohort))))
    return path_gptomic.fit(*parts, settings=own, context=context(cohort))


def bench_epoch() -> None:
    """One epoch of stage 2 with 400 training patients, less everything that is done once."""
    for tiles, features, limit, more in ((1, 607, 2, 30), (2000, 1024, 60, 2)):
        cohort = patients(420, tiles, features)
        seconds = {epochs: cpu_seconds(partial(fit, cohort, epochs=epochs, n_train=400)) for epochs in (1, 1 + more)}
        epoch = (seconds[1 + more] - seconds[1]) / more
        print(f"stage 2, 400 patients of {tiles} x {features}: {epoch:.2f} CPU s an epoch (under {limit})")


def bench_bag(features: int = 1024) -> None:
    """Prediction of one bag, whole and in chunks; memory on top of the bag."""
    small = patients(40, 20, features)
    fitted = fit(small, epochs=1, n_train=30)
    for tiles in (25_000, 100_000):
        bag = np.random.default_rng(2).standard_normal((tiles, features), dtype=np.float32)
        one = replace(small.subset([0]), bags=[bag])
        network = fitted.networks[0]
        network.streams, network.pooling.chunk = True, PIECE
        before = reset_peak()
        seconds = cpu_seconds(lambda o=one: fitted.predict(o, [365.0]))
        chunked = fitted.predict(one, [365.0]).risk[0]
        extra = peak_rss() - before
        network.streams, network.pooling.chunk = False, 10**9  # one tensor, one softmax
        whole = fitted.predict(one, [365.0]).risk[0]
        print(
            f"bag of {tiles} x {features} ({bag.nbytes / 2**20:.0f} MiB): {seconds:.1f} CPU s, "
            f"{extra / 2**20:.0f} MiB on top; chunked less whole {abs(chunked - whole):.1e} (at most 1e-5)"
        )


def bench_long(features: int = 1024) -> None:
    """An epoch over long bags, all tiles of all patients: memory on top of the bags."""
    for tiles in (25_000, 100_000):
        cohort = patients(12, tiles, features)
        own = settings(members=1)
        own = replace(own, training=replace(own.training, epochs=1, patience=0, tiles_per_patient=0))
        parts = cohort.subset(range(8)), cohort.subset(range(8, 12))
        before = reset_peak()
        begin = time.process_time()
        path_gptomic.fit(*parts, settings=own, context=context(cohort))
        seconds, extra = time.process_time() - begin, peak_rss() - before
        print(f"trained on bags of {tiles} x {features}: {seconds:.0f} CPU s, {extra / 2**20:.0f} MiB on top")


def status_bytes(key: str) -> int:
    """Read a memory size of this process from Linux, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def reset_peak() -> int:
    """Set the peak of resident memory back to what is held now; returns that, bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_rss() -> int:
    """Peak of resident memory since `reset_peak`, bytes."""
    return status_bytes("VmHWM")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    known = {"scgpt": bench_scgpt, "epoch": bench_epoch, "bag": bench_bag, "long": bench_long}
    for name in sys.argv[1:] or known:
        known[name]()
