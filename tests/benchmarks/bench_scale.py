"""Seconds and memory of a dry run at 100, 1,000 and 10,000 slides (12 models, 25 folds), and what one new slide reruns.

Limits: 10,000 slides in under 30 s and 1 GB.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from workflow.conftest import clean_env, copy_project

ROOT = Path(__file__).resolve().parents[2]
MODELS = 12


def make_cohort(folder: Path, slides: int) -> list[str]:
    """Tables and config of a cohort whose slide files are empty."""
    (folder / "raw").mkdir(exist_ok=True)
    rows, patients = ["slide\tpatient\tpath\tsite"], ["patient\ttime_days\tevent\tsite\tage"]
    for number in range(slides):
        path = folder / f"raw/S{number:05d}.svs"
        path.touch()
        rows.append(f"S{number:05d}\tP{number:05d}\traw/{path.name}\t{'ABCDEF'[number % 6]}")
        patients.append(f"P{number:05d}\t{number + 1}\t{number % 2}\t{'ABCDEF'[number % 6]}\t60")
    (folder / "slides.tsv").write_text("\n".join(rows) + "\n")
    (folder / "patients.tsv").write_text("\n".join(patients) + "\n")
    config = {
        "inputs": {"slides": "slides.tsv", "patients": "patients.tsv", "covariates": {"age": "numeric"}},
        "survival": {"models": {f"abmil_{i}": {"method": "abmil_wsi"} for i in range(MODELS)}},
    }
    (folder / "scale.yaml").write_text(yaml.safe_dump(config))
    return ["--configfile", "scale.yaml"]


DRY = ["-n", "--quiet", "rules", "--", "all"]


def finish(folder: Path, args: list[str]) -> None:
    """Make every output an empty file and let Snakemake take them for done."""
    env = clean_env()
    base = [sys.executable, "-m", "snakemake", "--cores", "1", *args]
    listed = subprocess.check_output([*base, "--summary", "--", "all"], cwd=folder, text=True, env=env)
    for line in listed.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if path.name == "bundle" else path.touch()
    subprocess.run([*base, "--touch", "--quiet", "all", "--", "all"], cwd=folder, check=True, env=env)


def add_slide(folder: Path) -> None:
    """One more slide of a patient who is there."""
    (folder / "raw/NEW.svs").touch()
    with (folder / "slides.tsv").open("a") as file:
        file.write("NEW\tP00001\traw/NEW.svs\tA\n")


def dry_run(folder: Path, args: list[str]) -> tuple[float, float, str]:
    """CPU seconds, peak memory in MB and what was said."""
    watch = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]).returncode; "
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print('COST', u.ru_utime + u.ru_stime, u.ru_maxrss / 1000); sys.exit(r)"
    )
    command = [sys.executable, "-c", watch, sys.executable, "-m", "snakemake", "--cores", "1", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=clean_env())
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    seconds, megabytes = done.stdout.split("COST")[1].split()[:2]
    return float(seconds), float(megabytes), done.stdout + done.stderr


def jobs(said: str) -> str:
    lines = [line.split() for line in said.splitlines() if line.split()[1:2] and line.split()[1].isdigit()]
    return ", ".join(f"{rule} {count}" for rule, count in dict((part[0], part[1]) for part in lines).items())


def main() -> None:
    for slides in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_project(ROOT, folder)
            args = make_cohort(folder, slides)
            seconds, megabytes, said = dry_run(folder, [*args, *DRY])
            print(f"dry run, {slides:6d} slides: {seconds:5.1f} CPU s, {megabytes:5.0f} MB; {jobs(said)}", flush=True)
            finish(folder, args)
            print(f"  all done:      {jobs(dry_run(folder, [*args, *DRY])[2]) or 'nothing to do'}", flush=True)
            add_slide(folder)
            print(f"  one new slide: {jobs(dry_run(folder, [*args, *DRY])[2])}", flush=True)
    print(f"peak of all children: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
