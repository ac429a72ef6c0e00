import numpy as np
import pytest
from unit.slides.pretend import tissue_picture

from histoweave.slides.handcrafted import (
    encode,
    encode_tile,
    encoder_hash,
    feature_names,
    glcm,
    lbp,
    separate_stains,
    tables,
)
from histoweave.slides.kernels import split_tile

NAMES = feature_names()


def feature(values, name):
    return values[NAMES.index(name)]


@pytest.fixture(scope="module")
def tile():
    return tissue_picture(128, 128, seed=7, margin=-0.5)[0]


def test_every_feature_has_a_name_of_its_own(tile):
    assert len(NAMES) == len(set(NAMES)) == 187 == encode_tile(tile, mpp=0.5).size


def test_a_batch_is_its_tiles(tile):
    other = tile[::-1].copy()
    both = encode(np.stack([tile, other]), mpp=0.5)
    assert both.dtype == np.float32
    assert np.array_equal(both[1], encode_tile(other, mpp=0.5).astype(np.float32))


@pytest.mark.parametrize("turn", [lambda t: np.rot90(t), lambda t: t[:, ::-1], lambda t: t[::-1]])
def test_turning_a_tile_changes_nothing_but_rounding(tile, turn):
    before, after = encode_tile(tile, mpp=0.5), encode_tile(np.ascontiguousarray(turn(tile)), mpp=0.5)
    assert np.allclose(before, after, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_tiles_have_finite_features(level):
    assert np.isfinite(encode_tile(np.full((64, 64, 3), level, dtype=np.uint8), mpp=0.5)).all()


def test_stains_come_back_as_they_were_mixed():
    haematoxylin, eosin = np.array([0.650, 0.704, 0.286]), np.array([0.072, 0.990, 0.105])
    unit = [v / np.linalg.norm(v) for v in (haematoxylin, eosin)]
    light = 255 * 10 ** -(0.6 * unit[0] + 0.3 * unit[1])
    found = separate_stains(np.full((4, 4, 3), light.round(), dtype=np.uint8))[:, 0, 0]
    assert np.abs(found - np.array([0.6, 0.3, 0.0]) / 2 * 255 - np.array([0, 0, 128])).max() <= 2


def test_colour_features_are_those_of_the_pixels():
    tile = np.zeros((32, 32, 3), dtype=np.uint8)
    tile[:16] = (200, 100, 50)
    tile[16:] = (100, 100, 50)
    values = encode_tile(tile, mpp=0.5)
    assert feature(values, "red_mean") == 150
    assert feature(values, "red_sd") == 50
    assert feature(values, "green_sd") == 0
    assert feature(values, "saturation_q10") == 127


def test_grey_is_luma_and_saturation_that_of_hsv():
    pixels = np.array([[[255, 255, 255], [255, 0, 0], [0, 255, 0], [200, 100, 150], [0, 0, 0]]], dtype=np.uint8)
    planes, counts = split_tile(pixels, *tables())
    assert planes[3].tolist() == [[255, 76, 149, 135, 0]]
    assert planes[4].tolist() == [[0, 255, 255, 127, 255]]
    assert (counts.sum(axis=1) == 5).all()
    assert counts[5, 200] == 1


def test_lbp_of_known_patterns():
    flat = np.full((10, 10), 7, dtype=np.uint8)
    assert lbp(flat)[8] == 1  # every neighbour is at least the centre
    step = flat.copy()
    step[:, 5:] = 90
    shares = lbp(step)
    assert shares[5] == pytest.approx(1 / 8)  # the bright side of the edge: 5 of 8 neighbours are at least as bright
    assert shares.sum() == pytest.approx(1)


def test_glcm_of_known_patterns():
    flat = glcm(np.full((16, 16), 40, dtype=np.uint8), 1)
    assert flat.tolist() == [0, 1, 1, 0, 1]
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 16).astype(np.uint8)  # neighbours always one level apart
    contrast, homogeneity, energy, entropy, correlation = glcm(board, 1)
    assert contrast == 1
    assert homogeneity == 0.5
    assert energy == 0.5
    assert entropy == pytest.approx(np.log(2))
    assert correlation == pytest.approx(-1)


def test_the_hash_names_what_features_mean():
    assert encoder_hash(mpp=0.5, tile_px=256) == encoder_hash(mpp=0.5, tile_px=256)
    assert len({encoder_hash(mpp=m, tile_px=p) for m in (0.5, 0.25) for p in (256, 224)}) == 4
