"""The config against its schema: defaults filled in, every key known, one line for what is wrong."""

import difflib
import json
from pathlib import Path

import jsonschema
import yaml


class BadInput(Exception):
    """What a user can mend; printed as one line."""


def read_yaml(path: Path) -> dict:
    """Plain data of a YAML file, parsed in C where PyYAML has that (every start of Snakemake reads two dozen)."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return loader(path.read_text()).get_single_data()


def load_schema(path: Path) -> dict:
    """Read the schema at `path`, with each ``$ref`` to a file beside it replaced by that file."""
    return _resolve(read_yaml(path), path.parent)


def _resolve(node: object, folder: Path) -> object:
    if isinstance(node, list):
        return [_resolve(item, folder) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and not node["$ref"].startswith("#"):
        return load_schema(folder / node["$ref"]) | {k: _resolve(v, folder) for k, v in node.items() if k != "$ref"}
    return {key: _resolve(value, folder) for key, value in node.items()}


def fill_defaults(value: object, schema: dict) -> object:
    """Return `value` with the schema's defaults put in where a key is not given."""
    if isinstance(value, dict):
        schema = next((part for part in schema.get("anyOf", []) if part.get("type") == "object"), schema)
        known = schema.get("properties", {})
        for key, part in known.items():
            if "default" in part:
                _put_default(value, key, part)
        other = schema.get("additionalProperties")
        for key in value:
            part = known.get(key, other if isinstance(other, dict) else {})
            value[key] = fill_defaults(value[key], part)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        value[:] = [fill_defaults(item, schema["items"]) for item in value]
    return value


def _put_default(value: dict, key: str, part: dict) -> None:
    """Put in the default of `key`; where a part of a section is given, its own defaults fill the rest."""
    default = json.loads(json.dumps(part["default"]))
    if key not in value:
        value[key] = default
    elif isinstance(default, dict) and isinstance(value[key], dict):
        rest = {name: inner for name, inner in default.items() if name in part.get("properties", {})}
        value[key] = rest | value[key]


def check_config(config: dict, schema_path: Path, *, source: str) -> dict:
    """Return `config` complete; raises BadInput with the key, what is wrong and what is allowed there."""
    schema = load_schema(schema_path)
    filled = fill_defaults(json.loads(json.dumps(config)), schema)
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(filled), key=lambda e: (len(e.path), str(e.path))
    )
    if errors:
        more = f" (+{len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BadInput(f"{source}: {_explain(errors[0])}{more}")
    return filled


def check_models(config: dict, *, source: str) -> None:
    """Raise BadInput for a model under survival.one_site_out.models that is not one of survival.models."""
    survival = config["survival"]
    unknown = [name for name in survival["one_site_out"]["models"] if name not in survival["models"]]
    if unknown:
        raise BadInput(
            f"{source}: survival.one_site_out.models names '{unknown[0]}', which is not in survival.models"
            f" ({', '.join(survival['models'])})."
        )


def _explain(error: jsonschema.ValidationError) -> str:
    where = ".".join(map(str, error.path))
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))[0]
        close = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}."
        return f"unknown key '{'.'.join(filter(None, [where, unknown]))}'; {hint}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"key '{'.'.join(filter(None, [where, missing[0]]))}' is missing."
    hint = error.schema.get("description", "")
    return f"key '{where}': {error.message}." + (f" It is: {hint}" if hint else "")


def section_of(config: dict, dotted: str) -> object:
    """Return ``config['a']['b']`` for ``'a.b'``, and all of it for ``''``."""
    for key in filter(None, dotted.split(".")):
        config = config[key]
    return config
