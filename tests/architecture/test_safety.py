"""What must never stand in the code: files that run code when read, shells, the network, labels of slides."""

import ast
import re

import pytest
from architecture.sources import ROOT, RULES, SCRIPTS, SRC, imports, tree

FILES = sorted([*SRC.rglob("*.py"), *SCRIPTS.rglob("*.py"), *RULES.rglob("*.py")])
NETWORK = {
    "requests",
    "urllib.request",
    "urllib3",
    "http.client",
    "ftplib",
    "socket",
    "smart_open",
    "fsspec",
    "aiohttp",
}
RUN_WHEN_READ = {"cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def name_of(path) -> str:
    return str(path.relative_to(ROOT))


def calls(path):
    """(dotted name, call) of every call in the file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    """Constant value of the argument `name`, None where it is not given or no constant."""
    values = [k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)]
    return values[0] if values else None


def is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


@pytest.mark.parametrize("path", FILES, ids=name_of)
class TestFile:
    def test_imports_nothing_that_runs_code_when_reading(self, path):
        assert {name.split(".")[0] for name in imports(path)} & RUN_WHEN_READ == set()

    def test_imports_nothing_that_speaks_to_the_network(self, path):
        used = imports(path)
        assert {name for name in NETWORK if any(u == name or u.startswith(name + ".") for u in used)} == set()

    def test_reads_tensors_and_arrays_as_data_only(self, path):
        for name, call in calls(path):
            if name == "torch.load":
                assert keyword(call, "weights_only") is True, f"line {call.lineno}"
            assert keyword(call, "allow_pickle") is not True, f"line {call.lineno}"
            assert name not in {"yaml.load", "pd.read_pickle", "pandas.read_pickle"}, f"line {call.lineno}"
            assert not name.startswith("pickle."), f"line {call.lineno}"  # its error class may be named

    def test_runs_no_shell_and_no_text_as_code(self, path):
        for name, call in calls(path):
            assert name not in {"eval", "exec", "os.system", "os.popen", "tempfile.mktemp"}, f"line {call.lineno}"
            assert keyword(call, "shell") is not True, f"line {call.lineno}"

    def test_never_reads_a_slide_s_label(self, path):
        text = path.read_text()
        assert not re.search(r"associated_images\s*\[\s*['\"](label|macro)", text), "labels may name the patient"

    def test_draws_no_number_from_a_shared_generator(self, path):
        shared = re.findall(r"np\.random\.(?!default_rng|Generator|SeedSequence)\w+|\brandom\.seed", path.read_text())
        fixed = [call.lineno for name, call in calls(path) if name == "torch.manual_seed" and is_constant(call.args[0])]
        assert shared == []
        assert fixed == [], "a seed is derived from the run's and the task's names"


def test_no_rule_runs_on_the_login_node_or_loads_from_the_network():
    text = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *RULES.rglob("*.smk")])
    for word in ("localrules", "retries:", "http://", "https://", "remote(", "storage(", "script:", "run:"):
        assert word not in text, word


def test_the_slurm_profile_is_found_by_its_bare_name():
    link = ROOT / "slurm"
    assert link.is_symlink(), "`--profile slurm` needs the link; a download without links breaks it"
    assert link.readlink().as_posix() == "profiles/slurm"
    assert (link / "config.yaml").is_file()
