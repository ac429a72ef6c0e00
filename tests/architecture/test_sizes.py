"""Sizes that we hold ourselves to."""

import ast
import statistics

from architecture.sources import RULES, SCRIPTS, library_files, tree


def lines(path) -> int:
    return path.read_text().count("\n")


def body_lines(node) -> int:
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return body[-1].end_lineno - body[0].lineno + 1


def functions():
    for path in library_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.stem}.{node.name}", node


def test_files_are_short():
    sizes = {str(path): lines(path) for path in library_files()}
    assert {p: n for p, n in sizes.items() if n > 400} == {}
    assert statistics.median(n for n in sizes.values() if n) <= 200
    assert {str(p) for p in SCRIPTS.rglob("*.py") if lines(p) > 60} == set()
    assert {str(p) for p in RULES.rglob("*.smk") if lines(p) > 200} == set()


def test_functions_are_short():
    sizes = {name: body_lines(node) for name, node in functions()}
    assert {name: n for name, n in sizes.items() if n > 60} == {}
    assert statistics.median(sizes.values()) <= 12
    assert sum(n <= 30 for n in sizes.values()) >= 0.9 * len(sizes)


def test_public_functions_are_annotated_and_described():
    bad = []
    for name, node in functions():
        public = not node.name.startswith("_") and ast.get_docstring(node) is not None
        args = [
            a for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs] if a.arg not in ("self", "cls")
        ]
        if public and (node.returns is None or any(a.annotation is None for a in args)):
            bad.append(name)
    assert bad == []
