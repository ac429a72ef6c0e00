"""`snakemake --profile slurm` on a real Slurm, and what may go wrong there; not part of `make test`.

Needs root and Debian's slurm-wlm and munge; brings the cluster up where it is down, and then takes it down again.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from workflow.conftest import Project, clean_env, copy_project
from workflow.mini import leftovers, make_mini, make_small, simulated, wait_until

HERE = Path(__file__).resolve().parent
SIM = Path(os.environ.get("SLURM_SIM", "/tmp/slurm-sim"))
PROFILES = ["--profile", "slurm", "--profile", "tests/cluster/profile"]
TARGETS = ["demo-data/slides/S001.tiff", "demo-data/expression.h5ad"]
TABLES = [f"results/{name}.parquet" for name in ("genegraph/metrics", "evaluation/metrics", "evaluation/comparisons")]
TRAINED = "results/survival/abmil_wsi/risk.parquet"

pytestmark = pytest.mark.skipif(
    not shutil.which("slurmctld") or os.geteuid() != 0, reason="no slurmctld here, or not root"
)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """The test cluster, up."""
    up = subprocess.run(["bash", HERE / "cluster_up.sh"], capture_output=True, text=True, check=False)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield
    finally:
        if "already up" not in up.stdout:
            subprocess.run(["bash", HERE / "cluster_down.sh"], check=True, capture_output=True)


def mini_project(root, folder):
    """A copy of the project with the cluster's profile and a tiny cohort."""
    made = copy_project(root, folder)
    shutil.copytree(HERE / "profile", folder / "tests/cluster/profile")
    make_mini(made)
    return made


@pytest.fixture
def project(root, tmp_path):
    return mini_project(root, tmp_path)


@pytest.fixture(scope="module")
def unbroken(root, tmp_path_factory):
    """Content of the tiny cohort as a run on this machine makes it."""
    made = copy_project(root, tmp_path_factory.mktemp("local"))
    done = made.snakemake(*make_mini(made), *TARGETS)
    assert done.returncode == 0, done.stderr
    return simulated(made)


def cluster_env(**more):
    return clean_env() | {"SLURM_CONF": str(SIM / "slurm.conf")} | more


def command(*args, targets=TARGETS):
    return [sys.executable, HERE / "quick_snakemake.py", *PROFILES, "--configfile", "mini.yaml", *args, "--", *targets]


def run(project, *args, targets=TARGETS, **more):
    done = subprocess.run(
        command(*args, targets=targets), cwd=project.folder, env=cluster_env(**more), capture_output=True, text=True,
        check=False, timeout=900,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def start(project, *args):
    log = (project.folder / "run.log").open("w")
    return subprocess.Popen(
        command(*args), cwd=project.folder, env=cluster_env(), stdout=log, stderr=log, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def slurm(*args):
    return subprocess.check_output(args, env=cluster_env(), text=True)


def running():
    """Id and node of each running job."""
    return [line.split() for line in slurm("squeue", "-h", "-t", "R", "-o", "%i %N").splitlines()]


def test_the_bare_name_is_enough(project, unbroken):
    args = ["--profile", "slurm", "--configfile", "mini.yaml", "--slurm-init-seconds-before-status-checks", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *args, "--", *TARGETS],
        cwd=project.folder, env=cluster_env(), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert simulated(project) == unbroken
    logs = {path.parent.name for path in (project.folder / ".snakemake/slurm_logs").rglob("*.log")}
    assert "rule_simulate_expression" in logs


def test_a_cancelled_job_is_made_again(project, unbroken):
    process = start(project)
    wait_until(running)
    slurm("scancel", running()[0][0])
    assert process.wait(timeout=300) == 0, "retries of the profile make it again"
    assert simulated(project) == unbroken


def test_a_submission_refused_once_is_survived(project, unbroken):
    """The first sbatch fails as it does when the controller is busy."""
    folder = project.folder / "bin"
    folder.mkdir()
    real = shutil.which("sbatch")
    (folder / "sbatch").write_text(
        f'#!/bin/sh\nif mkdir "{folder}/refused" 2>/dev/null; then\n'
        '  echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1\nfi\n'
        f'exec {real} "$@"\n'
    )
    (folder / "sbatch").chmod(0o755)
    env = cluster_env()
    path = f"{folder}:{env['PATH']}"
    code, said = run(project, PATH=path)
    if code:
        code, said = run(project, PATH=path)  # a user's second call goes on where the first ended
    assert (folder / "refused").is_dir()
    assert code == 0, said
    assert simulated(project) == unbroken


@pytest.mark.waits
def test_a_node_that_goes_away(project, unbroken):
    """Its daemon is killed while it runs a job; Slurm starts the job anew elsewhere."""
    process = start(project)
    wait_until(running)
    job, node = running()[0]
    pid = int((SIM / f"slurmd-{node}.pid").read_text())
    steps = subprocess.run(["pgrep", "-f", rf"slurmstepd: \[{job}\."], capture_output=True, text=True, check=False)
    for number in [pid, *map(int, steps.stdout.split())]:
        os.kill(number, 9)
    try:
        assert process.wait(timeout=500) == 0
    finally:
        subprocess.run(["slurmd", "-f", SIM / "slurm.conf", "-N", node], check=True, env=cluster_env())
        wait_until(lambda: "idle" in slurm("sinfo", "-h", "-n", node, "-o", "%T"))
    assert simulated(project) == unbroken


@pytest.mark.waits
def test_cancelled_by_the_user(project, unbroken):
    process = start(project)
    wait_until(running)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=200) != 0
    wait_until(lambda: not running())
    assert leftovers(project.folder / "demo-data") == [] or set(simulated(project)) <= set(unbroken)
    code, said = run(project)
    assert code == 0, said
    made = simulated(project)
    assert {name: made[name] for name in unbroken} == unbroken


def insert(script: Path, lines: str) -> None:
    """Put lines at the beginning of the script's ``main``."""
    text = script.read_text()
    begin = text.index("    parser = steps.parser")
    script.write_text(text[:begin] + lines + text[begin:])


@pytest.fixture(scope="module")
def small(root, tmp_path_factory) -> Project:
    """A small cohort on which this machine has run every stage; HISTOWEAVE_SMALL may name the folder of one."""
    if given := os.environ.get("HISTOWEAVE_SMALL"):
        return Project(Path(given))
    made = copy_project(root, tmp_path_factory.mktemp("small"))
    done = made.snakemake(*make_small(made), *TABLES)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_all_stages_end_in_the_tables_of_a_local_run_and_each_training_sees_its_gpu_only(small, root, tmp_path):
    project = copy_project(root, tmp_path)
    shutil.copytree(HERE / "profile", tmp_path / "tests/cluster/profile")
    make_small(project)
    for script in ("genegraph/train_embedding", "survival/train_model"):
        seen = f'    import os; open("{tmp_path}/gpu-" + str(os.getpid()), "w").write(str(dict(os.environ)))\n'
        insert(tmp_path / f"workflow/scripts/{script}.py", seen)
    code, said = run(project, targets=TABLES)
    assert code == 0, said
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (small.folder / name).read_bytes(), name
    told = [ast.literal_eval(path.read_text()) for path in tmp_path.glob("gpu-*")]
    assert len(told) == 3, "one embedding and two models"
    assert {env["CUDA_VISIBLE_DEVICES"] for env in told} <= {"0", "1"}, "one of the node's two, and no other"
    assert {env["SLURMD_NODENAME"] for env in told} == {"gpu1"}


def shorten(project, stage):
    """Let the stage's jobs run for a minute, which is Slurm's least."""
    rules = project.folder / f"workflow/rules/{stage}.smk"
    rules.write_text(re.sub(r"minutes\((10|240)\)", "minutes(1)", rules.read_text()))


@pytest.fixture(scope="module")
def hanging(root, tmp_path_factory):
    """A run whose first job hangs in its first attempt only; the minute until its walltime passes beside another's."""
    project = mini_project(root, tmp_path_factory.mktemp("hanging"))
    flag = project.folder / "hung"
    hang = (
        f'    import os, time\n    if not os.path.exists("{flag}"):\n'
        f'        open("{flag}", "w").close(); time.sleep(900)\n'
    )
    shorten(project, "simulate")
    insert(project.folder / "workflow/scripts/simulate/simulate_expression.py", hang)
    process = start(project)
    yield project, process
    process.kill()


@pytest.mark.usefixtures("hanging")
@pytest.mark.waits
def test_a_training_at_its_walltime_goes_on_where_it_was(small, tmp_path):
    """Every epoch of the first attempt takes a second and a half, which is two minutes in all."""
    project = Project(shutil.copytree(small.folder, tmp_path / "run", symlinks=True))
    shutil.copytree(HERE / "profile", project.folder / "tests/cluster/profile")
    whole = (project.folder / TRAINED).read_bytes()
    shutil.rmtree((project.folder / TRAINED).parent)
    slow = f"""
    import os, time
    from histoweave.survival import train as loop
    save, first, noted = loop._Run.save, not os.path.exists("{tmp_path}/tried"), open("{tmp_path}/epochs", "a", 1)
    open("{tmp_path}/tried", "a").close()

    def slow_save(run, epoch):
        save(run, epoch)
        noted.write(f"{{int(first)}} {{epoch}}\\n")
        time.sleep(1.5 * first)

    loop._Run.save = slow_save
"""
    insert(project.folder / "workflow/scripts/survival/train_model.py", slow)
    shorten(project, "survival")
    code, said = run(project, "--rerun-triggers", "mtime", targets=[TRAINED])
    assert code == 0, said
    assert "TIMEOUT" in said
    done = [tuple(map(int, line.split())) for line in (tmp_path / "epochs").read_text().splitlines()]
    before, after = (sum(attempt == first for attempt, _ in done) for first in (1, 0))
    assert before >= 5, "the first attempt came some way"
    assert before + after in (79, 80), "two folds of 40 epochs, none done twice; the last note may be lost in the kill"
    assert (project.folder / TRAINED).read_bytes() == whole


@pytest.mark.waits
def test_a_job_at_its_walltime_is_tried_again_with_more(hanging, unbroken):
    project, process = hanging
    assert process.wait(timeout=300) == 0
    said = (project.folder / "run.log").read_text()
    assert "TIMEOUT" in said
    assert "runtime=2" in said
    assert simulated(project) == unbroken
