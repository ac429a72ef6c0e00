import dataclasses

import h5py
import numpy as np
import pytest

from histoweave.formats.feature_files import read_given
from histoweave.formats.slide_exports import Exported, write_exports

ONE = Exported(
    slide="S1",
    features=np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32),
    xy=np.array([[0, 0], [512, 0], [0, 512], [512, 512]]),
    encoder="uni_v1",
    encoder_hash="0123456789abcdef",
    mpp_level0=0.25,
    mpp_source="property",
    tile_px=256,
    side=512.0,
    overlap=0.0,
    size=(2000, 1800),
)
TRIDENT_KEYS = {
    "patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap", "name",
    "savetodir", "level0_width", "level0_height",
}  # fmt: skip
CLAM_KEYS = {"patch_size", "patch_level", "downsample", "downsampled_level_dim", "level_dim", "name", "save_path"}
STAMP_KEYS = {"stamp_version", "extractor", "unit", "tile_size_um", "tile_size_px", "code_hash", "feat_type"}


def test_trident_and_clam_find_what_they_look_for(tmp_path):
    (path,) = write_exports(ONE, tmp_path, kind="trident")
    assert path == tmp_path / "trident/features_uni_v1/S1.h5"
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float32
        assert file["coords"].dtype == np.int64
        assert file["features"].chunks is None
        attrs = dict(file["coords"].attrs)
        assert attrs.keys() >= TRIDENT_KEYS | CLAM_KEYS
        assert file["features"].attrs["encoder"] == "uni_v1"
        assert not STAMP_KEYS & set(file.attrs)
    assert (attrs["patch_size_level0"], attrs["level0_magnification"], attrs["target_magnification"]) == (512, 40, 20)
    assert attrs["mpp"] == 0.5


@pytest.mark.parametrize(("mpp", "side"), [(0.31, 256 * 0.5 / 0.31), (0.499, 256.0), (0.23, 256 * 0.5 / 0.23)])
def test_tridents_own_sum_gives_our_side(tmp_path, mpp, side):
    (path,) = write_exports(dataclasses.replace(ONE, mpp_level0=mpp, side=side), tmp_path, kind="trident")
    with h5py.File(path) as file:
        attrs = file["coords"].attrs
        source = attrs["patch_size"] * (10 / attrs["target_magnification"]) / (10 / attrs["level0_magnification"])
    assert round(source) == round(side) == attrs_side(path)


def attrs_side(path):
    with h5py.File(path) as file:
        return file["coords"].attrs["patch_size_level0"]


def test_stamp_is_in_micrometres(tmp_path):
    (path,) = write_exports(ONE, tmp_path, kind="stamp")
    assert path == tmp_path / "stamp/uni_v1-01234567/S1.h5"
    with h5py.File(path) as file:
        assert set(file.attrs) == STAMP_KEYS
        assert (file.attrs["unit"], file.attrs["tile_size_um"], file.attrs["feat_type"]) == ("um", 128.0, "tile")
        assert file["feats"].dtype == np.float16
        assert np.array_equal(file["coords"], ONE.xy * np.float32(0.25))


def test_what_is_written_is_read_again(tmp_path):
    for path in write_exports(ONE, tmp_path, kind="all"):
        given = read_given(path, mpp=0.25)
        assert np.allclose(given.features, ONE.features, atol=2e-3)
        assert np.array_equal(given.spatial, ONE.xy)
        assert (given.encoder, given.tile_um) == ("uni_v1", 128.0)


def test_no_export_writes_nothing(tmp_path):
    assert write_exports(ONE, tmp_path, kind="none") == []
    assert list(tmp_path.iterdir()) == []
