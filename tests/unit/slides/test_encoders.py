import numpy as np
from unit.slides.pretend import tissue_picture

from histoweave.slides.encoders import EncoderSettings, encode_all, make_encoder

SETTINGS = EncoderSettings(
    name="handcrafted",
    weights=None,
    sha256=None,
    accept_licence=False,
    precision="fp32",
    batch_tiles=32,
    device="cpu",
)
PICTURE, _ = tissue_picture(64, 64 * 5, seed=9, margin=-0.5)
TILES = [PICTURE[:, 64 * n : 64 * (n + 1)] for n in range(5)]


def test_batches_do_not_change_features():
    encoder = make_encoder(SETTINGS, registry={}, mpp=0.5, tile_px=64)
    one, _ = encode_all(encoder, iter(TILES), batch=1)
    many, there = encode_all(encoder, iter(TILES), batch=3)
    assert np.array_equal(one, many)
    assert there.all()
    assert one.shape == (5, len(encoder.names))


def test_missing_tiles_are_left_out_and_told():
    encoder = make_encoder(SETTINGS, registry={}, mpp=0.5, tile_px=64)
    features, there = encode_all(encoder, iter([TILES[0], None, TILES[2]]), batch=2)
    assert there.tolist() == [True, False, True]
    assert np.array_equal(features[1], encoder.encode([TILES[2]])[0])
    nothing, there = encode_all(encoder, iter([None]), batch=2)
    assert nothing.shape == (0, 187)
    assert not there.any()
