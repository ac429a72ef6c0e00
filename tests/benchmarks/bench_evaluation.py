"""Speed of the evaluation: concordance against scikit-survival, and a whole study with its intervals.

Run by ``make bench``. Ratios are of CPU seconds in one process, so that other work on the machine does not matter.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow/src"), str(ROOT / "tests/unit")]

from evaluation.cohorts import cohort_frame, folds_frame, risk_frame  # noqa: E402 - after the path is set
from sksurv.metrics import concordance_index_censored  # noqa: E402

from histoweave.evaluation.concordance import concordance  # noqa: E402
from histoweave.formats.survival import COHORT, FOLDS, RISK  # noqa: E402


def cpu_seconds(function, *, times):
    taken = []
    for _ in range(times):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def bench_concordance(n=20_000):
    generator = np.random.default_rng(0)
    risk = np.round(generator.standard_normal(n), 3)
    days = np.ceil(generator.exponential(1000 * np.exp(-risk)))
    event = generator.random(n) < 0.5
    ours = cpu_seconds(lambda: concordance(days, event, risk), times=20)
    theirs = cpu_seconds(lambda: concordance_index_censored(event, days, risk), times=3)
    gap = abs(concordance(days, event, risk).index - concordance_index_censored(event, days, risk)[0])
    print(f"concordance, {n} patients: ours {ours:.4f} s, scikit-survival {theirs:.3f} s,", end=" ")
    print(f"ratio {theirs / ours:.0f} (20 wanted), difference {gap:.1e} (1e-12 wanted)")


SETTINGS = {
    "metrics": {"horizons_days": [], "min_at_risk": 10, "tau_quantile": 0.9},
    "bootstrap": {"draws": 1000, "confidence": 0.95},
    "calibration": {"groups": 5, "bins": 10},
    "compare": {"baselines": ["model0", "model1"], "pairs": []},
    "curves": {"at_risk_every_days": 365},
    "decision": {"lowest": 0.05, "highest": 0.8, "steps": 16},
    "hazards": {"adjust_for": []},
    "subgroups": {"min_events": 10, "age_bands": [50, 65, 75]},
    "audits": {"read_slide_features": False, "permutations": 200},
}
STEPS = {  # script -> config sections, outputs; the longest first
    "score_models": ("metrics bootstrap calibration", "metrics fold-metrics draws ledger"),
    "estimate_hazards": ("bootstrap hazards subgroups", "hazard-ratios added-value subgroups"),
    "compare_models": ("metrics bootstrap compare", "out"),
    "estimate_curves": ("curves bootstrap", "kaplan-meier at-risk logrank"),
    "check_calibration": ("metrics bootstrap calibration decision", "calibration d-calibration decision"),
    "audit_models": ("bootstrap audits", "out"),
}


def bench_study(models=10, repeats=5, folds=5, n=1000):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = np.random.default_rng(1)
        cohort, score = cohort_frame(generator, n)
        splits = folds_frame(cohort["patient"].to_numpy(), generator, repeats=repeats, folds=folds)
        COHORT.write(cohort, folder / "cohort.parquet", provenance={})
        FOLDS.write(splits, folder / "folds.parquet", provenance={})
        for number in range(models):
            risk = risk_frame(cohort, splits, score, generator, noise=0.2 * (number + 1))
            RISK.write(risk, folder / f"model{number}/risk.parquet", provenance={})
        commands = {}
        for step, (sections, outputs) in STEPS.items():
            given = (
                f"--cohort {folder}/cohort.parquet --folds {folder}/folds.parquet --risks {folder}/model*/risk.parquet"
            )
            to = " ".join(f"--{output} {folder}/{step}-{output}.parquet" for output in outputs.split())
            values = json.dumps({section: SETTINGS[section] for section in sections.split()})
            commands[step] = f"{given} --threads 2 --settings '{values}' {to}"
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        run_step("score_models", commands.pop("score_models"))  # takes both cores, as its rule says
        with ThreadPoolExecutor(2) as pool:  # the others take one each, two at a time
            list(pool.map(run_step, commands, commands.values()))
        seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{models} models, {repeats * folds} folds, {n} patients, 1000 draws:", end=" ")
        print(f"{seconds:.0f} s on two cores, {used:.0f} CPU s (60 s wanted),", end=" ")
        print(f"largest process {after.ru_maxrss / 1024:.0f} MB")


def run_step(step, text):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/src"), "OMP_NUM_THREADS": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    begin = time.monotonic()
    script = ROOT / f"workflow/scripts/evaluation/{step}.py"
    subprocess.run(f"{sys.executable} -P {script} {text}", shell=True, check=True, env=environment)
    print(f"{step}: {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    bench_concordance()
    bench_study()
