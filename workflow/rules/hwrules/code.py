"""What code a step runs, as a short hash that comments and docstrings do not change."""

import ast
import hashlib
from functools import cache
from pathlib import Path


class CodeIndex:
    """Follows the imports of scripts inside the library under `source`."""

    def __init__(self, source: Path, scripts: Path) -> None:
        self.source, self.scripts = source, scripts
        self.module = cache(self._module)

    def code_of(self, step: str, *modules: str) -> str:
        """Hash of the script `step` ("stage/rule") and of all library code it imports, plus `modules`."""
        text, names = _read(self.scripts / f"{step}.py")
        seen: dict[str, str] = {}
        todo = [*names, *modules]
        while todo:
            name = todo.pop()
            if name not in seen and (found := self.module(name)):
                seen[name] = found[0]
                todo += found[1]
        return _digest(text + "".join(seen[name] for name in sorted(seen)))

    def _module(self, name: str) -> tuple[str, list[str]] | None:
        path = self.source.joinpath(*name.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                text, names = _read(file)
                return _digest(name + text), names
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> tuple[str, list[str]]:
    """Return the file's syntax tree without docstrings, and the library modules that it may import."""
    tree = ast.parse(path.read_text())
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return ast.dump(tree), [name for name in names if name.split(".")[0] == "histoweave"]
