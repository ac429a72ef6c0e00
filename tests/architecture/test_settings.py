"""Settings dataclasses and the schema say the same keys; a default stands in the schema only."""

import ast
import re
import sys

import pytest
from architecture.sources import ROOT, RULES, STAGES, library_files, tree

sys.path.insert(0, str(RULES))
from hwrules.config import fill_defaults, load_schema

SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")


def settings_classes():
    """(section, class node) of every dataclass that names its config section."""
    for path in library_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                fields = {f.target.id: f for f in node.body if isinstance(f, ast.AnnAssign)}
                if "section" in fields and isinstance(fields["section"].value, ast.Constant):
                    section = fields.pop("section").value.value
                    yield pytest.param(section, node, fields, id=f"{path.stem}.{node.name}")


def properties(section: str) -> dict:
    part = SCHEMA
    for key in section.split("."):
        part = part["properties"][key]
        part = next((p for p in part.get("anyOf", []) if p.get("type") == "object"), part)
    return part["properties"]


@pytest.mark.parametrize(("section", "node", "fields"), list(settings_classes()))
def test_fields_are_the_sections_keys(section, node, fields):
    assert set(fields) == set(properties(section))


@pytest.mark.parametrize(("section", "node", "fields"), list(settings_classes()))
def test_settings_have_no_defaults(section, node, fields):
    assert [name for name, field in fields.items() if field.value is not None] == []


def leaves(part: dict, path: tuple = ()):
    """Yield every key path of the schema that holds a value, with its description."""
    part = next((p for p in part.get("anyOf", []) if p.get("type") == "object"), part)
    if "properties" in part:
        for key, inner in part["properties"].items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, part


def test_every_key_is_closed_and_described():
    bare = [".".join(path) for path, part in leaves(SCHEMA) if not part.get("description")]
    assert bare == []


def test_unknown_keys_are_refused_at_every_level():
    def walk(part, path):
        if isinstance(part, dict):
            if "properties" in part and part.get("additionalProperties") is not False:
                yield path
            for key, inner in part.items():
                yield from walk(inner, f"{path}.{key}")

    assert list(walk(SCHEMA, "")) == []


def test_every_key_is_used():
    rules = "".join(path.read_text() for path in [ROOT / "Snakefile", *RULES.rglob("*.smk")])
    fields = {(*param.values[0].split("."), name) for param in settings_classes() for name in param.values[2]}
    unused = []
    for path, _ in leaves(SCHEMA):
        claimed = any(path[: len(field)] == field for field in fields)
        if path[0] in STAGES and not claimed and not re.search(rf"\b{path[-1]}\b", rules):
            unused.append(".".join(path))
    assert unused == []


def test_defaults_fill_every_section():
    filled = fill_defaults({"inputs": {}}, SCHEMA)
    assert all(stage in filled for stage in STAGES)
