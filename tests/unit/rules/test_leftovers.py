"""What a killed job leaves is found and removed, and nothing else."""

import sys

from architecture.sources import ROOT

from histoweave.formats import files

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.leftovers import PART, only_run, remove_leftovers


def test_half_written_files_and_folders_go_and_nothing_else(tmp_path):
    kept = [tmp_path / "a/.hidden.parquet", tmp_path / "a/risk.parquet", tmp_path / "b/part-1.parquet"]
    gone = [tmp_path / "a/.part-risk-x1.parquet", tmp_path / "b/.part-bundle-y2/fold.safetensors"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert remove_leftovers(tmp_path) == 2
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/data.parquet").write_text("")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/.part-link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert remove_leftovers(tmp_path / "results") == 1
    assert (tmp_path / "elsewhere/data.parquet").exists()


def test_no_results_yet(tmp_path):
    assert remove_leftovers(tmp_path / "results") == 0


def test_library_and_rules_agree_on_the_name(tmp_path):
    assert files.PART == PART
    with files.replacing(tmp_path / "a.parquet") as part:
        assert part.name.startswith(PART)


def test_a_second_run_beside_the_first_and_one_without_locks_remove_nothing(tmp_path):
    assert not only_run(tmp_path / "locks")
    (tmp_path / "0.input.lock").write_text("")
    (tmp_path / "0.output.lock").write_text("")
    assert only_run(tmp_path)
    (tmp_path / "1.output.lock").write_text("")
    assert not only_run(tmp_path)
