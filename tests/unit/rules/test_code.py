"""The hash of a step's code: comments and docstrings leave it, code changes it, other steps' code does not."""

import subprocess
import sys

import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.code import CodeIndex


@pytest.fixture
def project(tmp_path):
    files = {
        "src/histoweave/__init__.py": "",
        "src/histoweave/a/__init__.py": "",
        "src/histoweave/a/used.py": '"""Doc."""\nfrom histoweave.base import x\ndef f():\n    "Doc."\n    return x\n',
        "src/histoweave/a/unused.py": "y = 1\n",
        "src/histoweave/base.py": "x = 1\n",
        "scripts/a/step.py": "def main():\n    from histoweave.a import used\n    return used\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hash_of(project, *more):
    return CodeIndex(project / "src", project / "scripts").code_of("a/step", *more)


def change(project, name, old, new):
    path = project / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_comments_and_docstrings_do_not_count(project):
    before = hash_of(project)
    change(project, "src/histoweave/a/used.py", '"""Doc."""', '"""Other words."""  # and a comment')
    assert hash_of(project) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scripts/a/step.py", "return used", "return used, 1"),
        ("src/histoweave/a/used.py", "return x", "return x + 1"),
        ("src/histoweave/base.py", "x = 1", "x = 2"),
    ],
)
def test_code_counts_wherever_it_stands(project, name, old, new):
    before = hash_of(project)
    change(project, name, old, new)
    assert hash_of(project) != before


def test_code_of_others_does_not_count_unless_named(project):
    before, named = hash_of(project), hash_of(project, "histoweave.a.unused")
    change(project, "src/histoweave/a/unused.py", "1", "2")
    assert hash_of(project) == before
    assert hash_of(project, "histoweave.a.unused") != named != before


def test_moved_lines_and_other_brackets_do_not_count(project):
    before = hash_of(project)
    change(project, "src/histoweave/a/used.py", "    return x\n", "\n\n    return (x)\n")
    assert hash_of(project) == before


@pytest.mark.parametrize(
    "line",
    [
        "from histoweave.a import (\n    # a remark\n    unused as other,\n)\n",
        "import histoweave.a.unused as other\n",
        "if True:\n    from histoweave.a.unused import y\n",
    ],
)
def test_every_form_of_import_is_followed(project, line):
    path = project / "scripts/a/step.py"
    path.write_text(line + path.read_text())
    before = hash_of(project)
    change(project, "src/histoweave/a/unused.py", "1", "2")
    assert hash_of(project) != before


def test_the_order_of_sets_does_not_count(project):
    """Sets of text are ordered anew in every process."""
    change(project, "src/histoweave/base.py", "x = 1", "x = 'a' in {'a', 'b', 'c', 'd', 'e', 'f', 'g'}")
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'workflow/rules')!r})\n" + (
        "from pathlib import Path; from hwrules.code import CodeIndex\n"
        f"print(CodeIndex(Path({str(project / 'src')!r}), Path({str(project / 'scripts')!r})).code_of('a/step'))"
    )
    seeds = ({"PYTHONHASHSEED": str(seed)} for seed in range(3))
    made = {subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
            for env in seeds}  # fmt: skip
    assert len(made) == 1
