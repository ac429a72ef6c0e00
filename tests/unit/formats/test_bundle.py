"""A bundle comes back as it was written, whole or not at all, and nothing in it can run code."""

import json

import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.formats.bundle import FoldState, read_folds, read_header, write_bundle

HEADER = {"method": "abmil_wsi", "needs": ["slide"], "encoder": "named", "horizons_days": [365.0]}


def state(fold, *, repeat=0):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3).T + fold  # not contiguous, as a transposed layer is
    return FoldState(repeat, fold, {"weights": weights, "n": np.array(fold)}, {"fold": fold}, np.array([0.1, 0.5]))


@pytest.fixture
def bundle(tmp_path):
    write_bundle(tmp_path / "deep/bundle", HEADER, [state(0), state(1), state(0, repeat=1)], provenance={"seed": 1})
    return tmp_path / "deep/bundle"


def change(bundle, key, value):
    path = bundle / "bundle.json"
    content = json.loads(path.read_text())
    content.pop("sha256")
    path.write_text(json.dumps(content | {key: value}))


def test_folds_come_back_in_order_with_their_arrays(bundle):
    header = read_header(bundle)
    assert {key: header[key] for key in HEADER} == HEADER
    found = list(read_folds(bundle, header))
    assert [(one.repeat, one.fold) for one in found] == [(0, 0), (0, 1), (1, 0)]
    np.testing.assert_array_equal(found[1].tensors["weights"], state(1).tensors["weights"])
    assert found[1].tensors["weights"].dtype == np.float32
    assert found[1].tensors["n"].item() == 1
    assert found[1].meta == {"fold": 1}
    assert found[1].train_risk.tolist() == [0.1, 0.5]
    assert "train_risk" not in found[1].tensors


def test_equal_bundles_have_equal_bytes(bundle, tmp_path):
    write_bundle(tmp_path / "again", HEADER, [state(0), state(1), state(0, repeat=1)], provenance={"seed": 1})
    names = sorted(path.name for path in bundle.iterdir())
    assert names == ["bundle.json", "fold_0_0.safetensors", "fold_0_1.safetensors", "fold_1_0.safetensors"]
    assert all((bundle / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_bundle_takes_the_place_of_an_older_one_with_more_folds(bundle):
    write_bundle(bundle, HEADER, [state(7)], provenance={})
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle.json", "fold_0_7.safetensors"]


def test_what_fails_half_way_leaves_the_older_bundle_and_no_scraps(bundle):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    unwritable = FoldState(0, 1, {}, {"object": object()}, np.zeros(1))
    with pytest.raises(TypeError):
        write_bundle(bundle, HEADER, [state(0), unwritable], provenance={})
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_the_folder_can_be_read_by_others(bundle):
    assert bundle.stat().st_mode & 0o777 == 0o755


def test_no_folder_and_no_json_are_refused(bundle):
    with pytest.raises(InputError, match="is no readable bundle"):
        read_header(bundle / "elsewhere")
    (bundle / "bundle.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="is no readable bundle"):
        read_header(bundle)


def test_another_version_is_refused(bundle):
    change(bundle, "format_version", 1)
    with pytest.raises(InputError, match="expected 'survival_bundle' version 2, found 'survival_bundle' version 1"):
        read_header(bundle)


@pytest.mark.parametrize("key", ["method", "needs", "encoder", "horizons_days", "folds", "provenance"])
def test_a_missing_entry_is_named(bundle, key):
    path = bundle / "bundle.json"
    content = json.loads(path.read_text())
    content.pop(key)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"is incomplete: '{key}' is missing"):
        read_header(bundle)


def test_a_bundle_without_folds_is_incomplete(bundle):
    change(bundle, "folds", [])
    with pytest.raises(InputError, match="'folds' is missing"):
        read_header(bundle)


def test_a_changed_entry_breaks_the_checksum(bundle):
    path = bundle / "bundle.json"
    path.write_text(path.read_text().replace('"abmil_wsi"', '"path_gptomic"'))
    with pytest.raises(InputError, match="checksum does not match what it says"):
        read_header(bundle)


def test_other_line_breaks_are_no_damage(bundle):
    path = bundle / "bundle.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_header(bundle)["method"] == "abmil_wsi"


@pytest.mark.parametrize("name", ["model.pt", "weights.pkl", "run.py", "noending"])
def test_a_stranger_in_the_folder_stops_everything(bundle, name):
    (bundle / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"holds '{name}', which is no part of a bundle"):
        read_header(bundle)


def test_snakemake_s_own_mark_is_no_stranger(bundle):
    (bundle / ".snakemake_timestamp").touch()
    assert read_header(bundle)["folds"]


def test_a_flipped_byte_a_cut_file_and_a_missing_file_are_named(bundle):
    header, path = read_header(bundle), bundle / "fold_0_1.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"fold_0_1.safetensors is damaged"):
        list(read_folds(bundle, header))
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"fold_0_1.safetensors cannot be read"):
        list(read_folds(bundle, header))
    path.unlink()
    with pytest.raises(InputError, match=r"fold_0_1.safetensors cannot be read"):
        list(read_folds(bundle, header))


def test_a_file_s_name_cannot_lead_out_of_the_folder(bundle, tmp_path):
    (tmp_path / "fold_0_0.safetensors").write_bytes((bundle / "fold_0_0.safetensors").read_bytes())
    header = read_header(bundle)
    header["folds"][0]["file"] = "../../fold_0_0.safetensors"
    (bundle / "fold_0_0.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        next(read_folds(bundle, header))
