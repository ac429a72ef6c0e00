"""What code a step runs, as a short hash that comments and docstrings do not change."""

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType


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
    """Return what the file compiles to, and the library modules that it may import."""
    text = path.read_text()
    names = [name for module in _IMPORT.findall(text) for name in module.split(",")]
    for module, imported in _FROM.findall(text):
        words = re.findall(r"\w+", re.sub(r"#.*|\bas\s+\w+", "", imported))
        names += [module, *(f"{module}.{word}" for word in words)]
    # optimised twice: without docstrings; parsed by C, since this is done for every file at each start of Snakemake
    code = compile(text, "", "exec", dont_inherit=True, optimize=2)
    return "\n".join(_said(code)), [name.split()[0] for name in names]


_FROM = re.compile(r"^[ \t]*from (histoweave[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import (histoweave[^\n]*)", re.MULTILINE)


def _said(code: CodeType) -> Iterator[str]:
    """All that a code object does, but for the lines on which it stands."""
    yield f"{code.co_name} {code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
    yield f"{code.co_code.hex()} {code.co_exceptiontable.hex()}"
    yield f"{code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _said(constant)
        else:  # a set has no order of its own
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
