import sys

import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.findings import FAIL, OK, WARN, Finding, fails, first_of, refuse, table

FINDINGS = [Finding(OK, "tables", "rows", "3 slides"), Finding(FAIL, "files", "slides", "1 of 3\ncannot be used")]


def test_only_a_fail_fails():
    assert fails(FINDINGS)
    assert not fails([Finding(WARN, "disk", "results", "little room")])


def test_table_has_a_line_per_finding_in_columns_and_a_verdict():
    lines = table(FINDINGS).splitlines()
    assert len(lines) == 4
    assert lines[0].index("subject") == lines[1].index("rows") == lines[2].index("slides")
    assert lines[2].endswith("1 of 3 cannot be used")
    assert lines[-1] == "1 finding(s) would make a run fail; 0 worth a look."


def test_first_of_counts_the_rest():
    assert first_of(["a", "b", "c", "d", "e"]) == "a, b, c (+2 more)"
    assert first_of(["a"]) == "a"


@pytest.mark.parametrize(("targets", "code"), [({"doctor"}, 1), ({"all"}, 2), (set(), 2)])
def test_refusing_ends_with_the_target_s_exit_code(targets, code, capsys):
    with pytest.raises(SystemExit) as end:
        refuse(ValueError("slides.tsv, line 3: no file"), targets=targets)
    assert end.value.code == code
    out, err = capsys.readouterr()
    assert "line 3: no file" in (out if code == 1 else err)
