"""Every rule says where it logs, what it costs and where it runs; one script per rule, of its name."""

import re

import pytest
from architecture.sources import RULES, SCRIPTS, STAGES, rule_blocks

RULE_BLOCKS = rule_blocks()
WORKING = {name: block for name, block in RULE_BLOCKS.items() if "shell:" in block[1]}


@pytest.mark.parametrize("name", sorted(WORKING))
@pytest.mark.parametrize("directive", ["output", "log", "benchmark", "conda", "threads", "resources", "params"])
def test_rule_has_directive(name, directive):
    assert re.search(rf"(?m)^    {directive}:", WORKING[name][1]), f"{name} has no {directive}"


@pytest.mark.parametrize("name", sorted(WORKING))
def test_rule_form(name):
    path, body = WORKING[name]
    assert "retries:" not in body, "retries belong to the profile: a rule's own are repeated inside the job"
    assert re.match(r'\s+("|name:)', body), "a rule opens with one line that says what it does"
    assert body.rstrip().count("\n") + 2 <= 40  # log, benchmark, conda, threads and resources alone take 12 of them
    stage = path.stem
    assert f"PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/{stage}/{name}.py" in body
    assert (SCRIPTS / stage / f"{name}.py").is_file()
    assert f'code_of("{stage}/{name}"' in body.replace("\n", "").replace(" ", "")
    assert "mem_mb" in body
    assert "runtime" in body


def test_each_script_has_its_rule():
    by_hand = {"simulate_tables"}  # writes the demo's committed tables
    scripts = {p.stem for p in SCRIPTS.glob("*/*.py")}
    assert scripts - set(WORKING) == by_hand


def test_paths_in_commands_are_quoted():
    for name, (_, body) in WORKING.items():
        command = body.split("shell:")[1]
        bare = re.findall(r"\{(?:input|output|log|params|wildcards)[^}]*\}", command)
        assert [b for b in bare if not b.endswith(":q}")] == [], name


def test_each_stage_word_is_a_target():
    assert set(STAGES) <= set(RULE_BLOCKS)
    for stage in STAGES:
        assert RULE_BLOCKS[stage][0] == RULES / f"{stage}.smk"


def test_names_of_rule_files_do_not_clash():
    owner = {}
    for path in RULES.rglob("*.smk"):
        for name in set(re.findall(r"(?m)^(?:def )?([A-Za-z_]\w*)(?: = |\()", path.read_text())):
            assert name not in owner, (
                f"{name} of {path} would overwrite that of {owner[name]}: all rule files share names"
            )
            owner[name] = str(path.relative_to(RULES))
