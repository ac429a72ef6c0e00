"""What a user can mend is told in one line, before anything runs, with exit code 2."""

import pytest
import yaml


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(" ", "\t"))
    return str(path)


def said(done):
    """What is said apart from Snakemake's own line about the profile."""
    return [line for line in done.stderr.splitlines() if not line.startswith("Using workflow specific profile")]


def config_with(project, **inputs):
    path = project.folder / "my.yaml"
    path.write_text(yaml.safe_dump({"inputs": inputs}))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("slides", "slide path\nS1 a.svs\n", "slides.tsv: column 'patient' is missing"),
        ("slides", "slide patient path\nS/1 P1 a.svs\n", "line 2, column 'slide': 'S/1' is not allowed"),
        ("slides", "slide patient path\nS1 P1 nowhere.svs\n", "'S1': the file nowhere.svs does not exist"),
        ("patients", "patient time_days event\nP1 5 1\np1 9 0\n", "line 3: patient 'p1' stands already in line 2"),
        ("patients", "patient time_days event\nP1 5 1\nP2 NA 1\n", "patient 'P2' has event=1 but no time_days"),
    ],
)
def test_bad_table(project, kind, text, message):
    table = put(project.folder / f"{kind}.tsv", text)
    done = project.snakemake("-n", "all", "--configfile", config_with(project, **{kind: table}))
    assert done.returncode == 2
    assert len(said(done)) == 1, done.stderr
    assert said(done)[0].startswith("error: ")
    assert message in said(done)[0]


def test_unknown_config_key(project):
    done = project.snakemake("-n", "all", "--config", "sead=3")
    assert done.returncode == 2
    assert said(done) == ["error: config/demo.yaml: unknown key 'sead'; did you mean 'seed'?"]


def test_a_run_with_nothing_to_read_is_refused(project):
    done = project.snakemake("-n", "all", "--configfile", config_with(project))
    assert done.returncode == 2
    assert "inputs: no table is given" in done.stderr
