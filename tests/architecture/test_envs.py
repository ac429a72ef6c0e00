"""Each stage's conda environment holds all that its scripts import, at the lock's versions, and no pip section."""

import re
import sys

import pytest
import yaml
from architecture.sources import ROOT, SCRIPTS, closure, imports

# module -> package, where the two differ; package -> conda-forge name, where that differs from PyPI's
PACKAGE_OF = {
    "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "sksurv": "scikit-survival",
    "yaml": "pyyaml", "openslide": "openslide-python", "torch_geometric": "torch-geometric", "umap": "umap-learn",
    "igraph": "igraph", "skmisc": "scikit-misc", "rpy2": "rpy2",
}  # fmt: skip
CONDA_NAME = {
    "torch": "pytorch", "torch-geometric": "pytorch_geometric", "matplotlib": "matplotlib-base",
    "igraph": "python-igraph",
}  # fmt: skip
PYPI_NAME = {conda: pypi for pypi, conda in CONDA_NAME.items()}
STAGE_FOLDERS = sorted(p.name for p in SCRIPTS.iterdir() if any(p.glob("*.py")))


def env(stage: str) -> dict:
    return yaml.safe_load((ROOT / f"envs/{stage}.yaml").read_text())


def pins(stage: str) -> dict[str, str]:
    pairs = (re.fullmatch(r"([\w.-]+) =([\w.]+)", d) for d in env(stage)["dependencies"])
    return {m[1]: m[2] for m in pairs}


def lock() -> dict[str, str]:
    text = (ROOT / "envs/requirements.txt").read_text()
    return {m[1].lower(): m[2] for m in re.finditer(r"(?m)^([\w.-]+)==([\w.]+)", text)}


def needed(stage: str) -> set[str]:
    """Packages that the stage's scripts import, through the library too."""
    files = set().union(*(closure(script) for script in (SCRIPTS / stage).glob("*.py")))
    modules = {name.split(".")[0] for file in files for name in imports(file)}
    outside = modules - set(sys.stdlib_module_names) - {"histoweave", "hwrules"}
    return {PACKAGE_OF.get(name, name) for name in outside}


@pytest.mark.parametrize("stage", STAGE_FOLDERS)
def test_env_form(stage):
    made = env(stage)
    assert made["channels"] == ["conda-forge", "nodefaults"]
    loose = [d for d in made["dependencies"] if not isinstance(d, str) or not re.fullmatch(r"[\w.-]+ =[\w.]+", d)]
    assert loose == [], "exact pins 'name =x.y.z' only; a pip section is dropped beside a pin file"


@pytest.mark.parametrize("stage", STAGE_FOLDERS)
def test_env_is_complete(stage):
    have = {PYPI_NAME.get(name, name) for name in pins(stage)}
    optional = {"rpy2"} if stage == "expression" else set()
    assert needed(stage) - have - optional == set()


@pytest.mark.parametrize("stage", STAGE_FOLDERS)
def test_env_is_in_step_with_the_lock(stage):
    locked = lock()
    ours = {PYPI_NAME.get(name, name): version for name, version in pins(stage).items()}
    skip = {"python", "openslide", "rpy2", "r-base", "r-sctransform", "bioconductor-glmgampoi"}
    wrong = {n: (v, locked.get(n)) for n, v in ours.items() if n not in skip and locked.get(n) != v}
    assert wrong == {}


def test_the_env_with_r_is_that_of_the_stage_and_r():
    def of(stage: str) -> set[str]:
        return set(env(stage)["dependencies"])

    assert of("expression") < of("expression_r")
    assert all(re.fullmatch(r"[\w.-]+ =[\w.]+", d) for d in of("expression_r"))
    assert {"r-base", "r-sctransform", "bioconductor-glmgampoi", "rpy2"} == set(pins("expression_r")) - set(
        pins("expression")
    )
