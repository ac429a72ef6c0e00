"""The project's files as syntax trees, for the tests of its architecture."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "workflow/src"
SCRIPTS = ROOT / "workflow/scripts"
RULES = ROOT / "workflow/rules"
STAGES = ("slides", "expression", "genegraph", "survival", "evaluation", "report")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def library_files() -> list[Path]:
    return sorted((SRC / "histoweave").rglob("*.py"))


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(SRC).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module that the file may import, at its top or inside a function, with dots."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def file_of(module: str) -> Path | None:
    path = SRC.joinpath(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def closure(path: Path) -> set[Path]:
    """The file and every library file that it leads to."""
    seen, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += [f for name in imports(file) if name.startswith("histoweave") and (f := file_of(name))]
    return seen


def rule_blocks() -> dict[str, tuple[Path, str]]:
    """Rule name -> (file, text of the rule)."""
    blocks = {}
    for path in sorted(RULES.rglob("*.smk")):
        text = path.read_text()
        for part in re.split(r"(?m)^(?=rule |checkpoint )", text):
            if match := re.match(r"rule (\w+):", part):
                body = re.split(r"(?m)^(?=\S)(?!rule )", part.split("\n", 1)[1])[0]
                blocks[match[1]] = (path, body)
        for part in re.findall(r"(?ms)^    rule:\n(.*?)(?=^\S|\Z)", text):  # made in a loop, one per batch
            name = re.search(r'f"(\w+?)_\{batch\}"', part)[1]
            blocks[name] = (path, re.sub(r"(?m)^    ", "", part))
    return blocks
