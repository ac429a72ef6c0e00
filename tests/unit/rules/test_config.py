"""The config check: defaults, unknown keys, values out of range."""

import sys

import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.config import BadInput, check_config, check_models, fill_defaults, load_schema, section_of

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def check(**given):
    return check_config({"inputs": {}, **given}, SCHEMA, source="config.yaml")


def test_defaults_are_filled_at_every_level():
    full = check()
    assert full["seed"] == 1
    assert full["inputs"]["endpoint"] is None
    assert full["simulate"] is None
    assert all(isinstance(full[stage], dict) for stage in ("slides", "expression", "survival", "report"))


def test_given_values_stay():
    assert check(seed=7)["seed"] == 7


def test_a_filled_default_is_a_copy():
    schema = {"properties": {"a": {"default": {"b": [1]}}}}
    first = fill_defaults({}, schema)
    first["a"]["b"].append(2)
    assert fill_defaults({}, schema) == {"a": {"b": [1]}}


def test_a_sections_default_fills_what_is_not_given_of_it():
    inner = {"properties": {"x": {"default": 0}, "y": {"default": 0}}, "default": {"x": 5}}
    assert fill_defaults({"a": {"y": 2}}, {"properties": {"a": inner}}) == {"a": {"x": 5, "y": 2}}


def test_a_given_mapping_replaces_its_default():
    named = {"additionalProperties": {"type": "object"}, "default": {"m": {}}}
    assert fill_defaults({"a": {"n": {}}}, {"properties": {"a": named}}) == {"a": {"n": {}}}


def test_alternatives_take_the_defaults_of_their_object():
    schema = {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"default": 1}}}]}
    assert fill_defaults({}, schema) == {"a": 1}
    assert fill_defaults(None, schema) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sead": 3}, "unknown key 'sead'; did you mean 'seed'?"),
        ({"inputs": {"slide": "x"}}, "unknown key 'inputs.slide'; did you mean 'slides'?"),
        ({"seed": -1}, "key 'seed': -1 is less than the minimum of 0. It is: The run's seed"),
        ({"inputs": {"expression": {"path": "x", "scale": "fpkm"}}}, "key 'inputs.expression.scale'"),
        ({"inputs": {"expression": {"path": "x"}}}, "key 'inputs.expression.scale' is missing"),
    ],
)
def test_bad_config_is_told_in_one_line(given, message):
    with pytest.raises(BadInput) as caught:
        check(**given)
    assert message in str(caught.value)
    assert str(caught.value).startswith("config.yaml: ")
    assert "\n" not in str(caught.value)


def test_references_are_resolved():
    schema = load_schema(SCHEMA)
    assert "properties" in schema["properties"]["slides"]
    assert schema["properties"]["slides"]["default"] == {}


def test_section_by_dotted_name():
    assert section_of({"a": {"b": 1}}, "a.b") == 1
    assert section_of({"a": 1}, "") == {"a": 1}


def test_models_without_a_site_are_models_of_the_run():
    full = check(survival={"one_site_out": {"models": ["ghanet", "nobody"]}})
    with pytest.raises(BadInput, match=r"survival.one_site_out.models names 'nobody', which is not in survival.models"):
        check_models(full, source="config.yaml")
    check_models(check(survival={"one_site_out": {"models": ["ghanet"]}}), source="config.yaml")


def test_a_cohort_has_one_of_two_roles():
    with pytest.raises(BadInput, match=r"inputs.cohorts.x': 'test' is not one of"):
        check_config({"inputs": {"cohorts": {"x": "test"}}}, SCHEMA, source="config.yaml")
