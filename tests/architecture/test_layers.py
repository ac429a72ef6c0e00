"""Who may import whom: downwards only."""

import pytest
from architecture.sources import RULES, SCRIPTS, SRC, file_of, imports, library_files, module_name

BASE = {"errors", "units", "rng", "device"}
PACKAGES = {"formats", "slides", "expression", "genegraph", "survival", "evaluation", "report", "plots", "simulate"}


# Modules beside steps.py: what several scripts of a stage share, joining files and science.
SHARED = {path.stem for path in (SRC / "histoweave").glob("*_*.py")} | {"steps"}


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def allowed(module: str) -> set[str]:
    own = layer(module)
    if own in BASE:
        return BASE
    return BASE | {own} if own in PACKAGES else BASE | PACKAGES | SHARED


@pytest.mark.parametrize("path", library_files(), ids=module_name)
def test_imports_go_downwards(path):
    own = module_name(path)
    used = {layer(name) for name in imports(path) if name.startswith("histoweave.") and file_of(name)} - {""}
    limit = BASE | PACKAGES if layer(own) == "steps" else allowed(own)
    assert used <= limit, f"{own} imports {used - limit}"


def test_package_files_are_empty():
    full = [str(p) for p in SRC.rglob("__init__.py") if p.read_text().strip()]
    assert full == []


def test_science_opens_no_files():
    banned = {"anndata.read_h5ad", "pandas.read_csv", "pandas.read_parquet", "pyarrow.parquet", "argparse", "h5py"}
    science = PACKAGES - {"formats"}
    found = {module_name(p): sorted(imports(p) & banned) for p in library_files() if layer(module_name(p)) in science}
    assert {name: used for name, used in found.items() if used and ".slides." not in name} == {}


def test_rules_never_import_the_library():
    for path in [*RULES.rglob("*.smk"), *RULES.rglob("*.py")]:
        text = path.read_text()
        assert "import histoweave" not in text, path
        assert "from histoweave" not in text, path


def test_scripts_do_not_import_each_other():
    names = {path.parent.name for path in SCRIPTS.rglob("*.py")}
    for path in SCRIPTS.rglob("*.py"):
        local = {name for name in imports(path) if name.split(".")[0] in names | {"scripts"}}
        assert local == set(), path
