# What all rule files use, that is the checked config and tables, and the surroundings of their commands.
import hashlib
import json
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(workflow.current_basedir))
from hwrules.code import CodeIndex
from hwrules.config import BadInput, check_config, check_models, section_of
from hwrules.findings import refuse
from hwrules.leftovers import only_run, remove_leftovers
from hwrules.tables import check_cohorts, check_endpoint, check_files, read_table
from snakemake.settings.types import DeploymentMethod

ROOT = Path(str(workflow.current_basedir)).parent.parent
HERE = ROOT.relative_to(Path.cwd()) if ROOT.is_relative_to(Path.cwd()) else ROOT
SCHEMAS = ROOT / "workflow/schemas"


def checked_inputs(given):
    "Config with defaults, and the user's tables; ends Snakemake with exit code 2 and one line if one is wrong."
    try:
        source = ", ".join(map(str, workflow.configfiles)) or "config"
        full = check_config(given, SCHEMAS / "config.schema.yaml", source=source)
        check_models(full, source=source)
        paths = full["inputs"]
        tables = {
            name: (
                read_table(paths[name], SCHEMAS / f"{name}.table.yaml")
                if paths[name]
                else {}
            )
            for name in ("slides", "patients", "datasets")
        }
        if not any(tables.values()):
            raise BadInput(
                f"{source}: inputs: no table is given; set inputs.slides, inputs.patients or inputs.datasets."
            )
        if workflow.is_main_process:
            given = {
                "made_in": (full.get("simulate") or {}).get("folder"),
                "allow_links": paths["allow_links"],
            }
            check_endpoint(paths["patients"], tables["patients"], paths["endpoint"])
            check_cohorts(paths["patients"], tables["patients"], paths["cohorts"])
            check_files(
                paths["slides"], tables["slides"], ["path", "features"], **given
            )
            check_files(paths["datasets"], tables["datasets"], ["path"], **given)
        return full, tables
    except BadInput as error:
        refuse(error, targets=sys.argv)


def settings(*sections):
    "JSON text of a config section ('slides.tissue'; '' is all); of several, one object with a key for each last word."
    if len(sections) == 1:
        return json.dumps(section_of(config, sections[0]), sort_keys=True)
    return json.dumps(
        {name.split(".")[-1]: section_of(config, name) for name in sections},
        sort_keys=True,
    )


def grow(megabytes):
    "Memory in MB that doubles with each attempt."
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


def minutes(number):
    "Run time in minutes that doubles with each attempt."
    return lambda wildcards, attempt: number * 2 ** (attempt - 1)


def batch_of(slide):
    "Batch of a slide by the hash of its name, so that a new slide changes one batch only."
    number = int(hashlib.md5(slide.encode(), usedforsecurity=False).hexdigest(), 16)
    return f"b{number % config['slides']['batches']:04d}"


config_checked, TABLES = checked_inputs(config)
config.clear()
config.update(config_checked)
SLIDES, PATIENTS, DATASETS = (
    TABLES[name] for name in ("slides", "patients", "datasets")
)
RESULTS = config["results_dir"]
BATCHES = sorted({batch_of(slide) for slide in SLIDES})

code_of = CodeIndex(ROOT / "workflow/src", ROOT / "workflow/scripts").code_of

# One thread per process: a result must not depend on the number of cores. Speed comes from processes.
ONE_THREAD = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 PYTHONHASHSEED=0"
# With --sdm conda the environment's python comes first on the path; otherwise the one that runs Snakemake.
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
OWN_PATH = (
    ""
    if CONDA
    else f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)
shell.prefix(f"export {ONE_THREAD}; {OWN_PATH}")


wildcard_constraints:
    slide=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    dataset=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    model=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    batch=r"b[0-9]{4}",
    part="[0-9]+",
    who="one_site_out|external",


onstart:
    if only_run(".snakemake/locks"):
        remove_leftovers(RESULTS)
        if config["simulate"]:
            remove_leftovers(config["simulate"]["folder"])
