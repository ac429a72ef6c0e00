"""Tiles as bytes: shared tables, colours that markers contradict, faults, and half size."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from unit.slides.pretend import halves, tissue_picture, write_aperio, write_generic

from histoweave.slides import decoding
from histoweave.slides.opening import open_slide
from histoweave.slides.reader import OpenSlideReader, UnreadablePart

pytest.importorskip("simplejpeg", reason="the environment is from before this package was needed")

PICTURE, _ = tissue_picture(470, 601, seed=12)
SIDE = 128
TABLES = {0xDB, 0xC4}  # quantisation and Huffman tables
APP0, APP14 = 0xE0, 0xEE


def segments(stream):
    """(marker, bytes) of each segment of a JPEG stream up to its scan, then (None, rest)."""
    place = 2
    while stream[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        yield stream[place + 1], stream[place:end]
        place = end
    yield None, stream[place:]


def encoded_tiles(*, colours, subsampling):
    """Stored tiles (bytes), row by row, of `PICTURE`."""
    high, wide = (-(-side // SIDE) for side in PICTURE.shape[:2])
    padding = ((0, high * SIDE - PICTURE.shape[0]), (0, wide * SIDE - PICTURE.shape[1]), (0, 0))
    padded = np.pad(PICTURE, padding, mode="edge")
    options = {"level": 80, "colorspace": "RGB", "outcolorspace": colours, "subsampling": subsampling}
    for y in range(0, high * SIDE, SIDE):
        for x in range(0, wide * SIDE, SIDE):
            tile = np.ascontiguousarray(padded[y : y + SIDE, x : x + SIDE])
            yield imagecodecs.jpeg8_encode(tile, **options)


def write_tiles(path, tiles, *, photometric, subsampling="420", tables=None):
    """Write a one-level Aperio slide of tiles that are encoded already, its tables in the TIFF."""
    extra = [] if tables is None else [(347, 7, len(tables), tables, True)]
    extra += [(530, 3, 2, {"420": (2, 2), "444": (1, 1), "422": (2, 1)}[subsampling], True)] if photometric == 6 else []
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=PICTURE.shape,
        dtype=np.uint8,
        photometric=photometric,
        compression="jpeg",
        compressionargs={"outcolorspace": {2: "rgb", 6: "ycbcr"}[photometric]},
        tile=(SIDE, SIDE),
        extratags=extra,
        metadata=None,
        description="Aperio Image Library v12\r\n601x470 (128x128) JPEG|MPP = 0.25",
    )
    return path


def abbreviated(tiles, *, without=()):
    """The tables of `tiles`, and `tiles` without them and without markers of `without`."""
    tables, short = b"", []
    for stream in tiles:
        parts = list(segments(stream))
        tables = b"".join(part for marker, part in parts if marker in TABLES)
        short.append(b"\xff\xd8" + b"".join(part for marker, part in parts if marker not in {*TABLES, *without}))
    return b"\xff\xd8" + tables + b"\xff\xd9", short


@pytest.mark.parametrize(
    ("colours", "photometric", "subsampling"),
    [("YCBCR", 6, "420"), ("YCBCR", 6, "422"), ("YCBCR", 6, "444"), ("RGB", 2, "444")],
)
def test_tiles_without_tables_of_their_own_are_openslides(tmp_path, colours, photometric, subsampling):
    encoded = encoded_tiles(colours=colours, subsampling=subsampling)
    tables, tiles = abbreviated(encoded, without=(APP0, APP14))
    path = write_tiles(tmp_path / "a.svs", tiles, photometric=photometric, subsampling=subsampling, tables=tables)
    slide = open_slide(path, halves=True)
    assert [level.halved for level in slide.levels] == [False, True]
    expected = OpenSlideReader(path).read(0, 0, 0, 601, 470)
    assert np.array_equal(slide.read(0, 0, 0, 601, 470), expected)
    assert np.abs(slide.read(1, 0, 0, 300, 235) - halves(expected).astype(int)).mean() < 1


@pytest.mark.parametrize(("colours", "photometric"), [("YCBCR", 2), ("RGB", 6)])
def test_the_tiff_says_what_colours_are_whatever_a_marker_says(tmp_path, colours, photometric):
    tiles = list(encoded_tiles(colours=colours, subsampling="444"))
    path = write_tiles(tmp_path / "a.svs", tiles, photometric=photometric, subsampling="444")
    slide = open_slide(path, halves=True)
    assert (slide.reader, len(slide.levels)) == ("native", 1), "no half size where markers mislead the fast decoder"
    assert np.array_equal(slide.read(0, 0, 0, 601, 470), OpenSlideReader(path).read(0, 0, 0, 601, 470))


def test_without_the_fast_decoder_pixels_are_the_same(tmp_path, monkeypatch):
    path = write_aperio(tmp_path / "a.svs", PICTURE, mpp=0.25)
    fast = open_slide(path).read(0, 5, 7, 500, 400)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    slow = open_slide(path, halves=True)
    assert [level.halved for level in slow.levels] == [False, False]
    assert np.array_equal(slow.read(0, 5, 7, 500, 400), fast)


KINDS = {
    "ycbcr": (write_aperio, {}),
    "rgb": (write_aperio, {"compressionargs": {"outcolorspace": "rgb"}}),
    "oblong": (write_generic, {"tile": (64, 256)}),
    "tiles of 240": (write_aperio, {"tile": (240, 240)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_half_size_is_the_mean_of_four_pixels_but_for_a_grey_level(tmp_path, kind):
    write, options = KINDS[kind]
    slide = open_slide(write(tmp_path / "a.svs", PICTURE, mpp=0.25, levels=1, **options), halves=True)
    stored, half = slide.levels
    assert (half.width, half.height, half.downsample, half.halved) == (300, 235, 2.0, True)
    whole = slide.read(1, 0, 0, 300, 235)
    expected = halves(slide.read(0, 0, 0, stored.width, stored.height))
    assert np.abs(whole.astype(int) - expected).mean() < 1
    for shift in ((0, 1), (1, 0)):  # half a pixel off would show as a better fit to a neighbour
        rolled = np.roll(expected, shift, (0, 1)).astype(int)
        assert np.abs(whole - rolled)[1:-1, 1:-1].mean() > 2 * np.abs(whole.astype(int) - expected).mean()
    assert np.array_equal(slide.read(1, 100, 33, 150, 170), whole[33:203, 100:250])
    beyond = slide.read(1, 290, 230, 20, 20)
    assert np.array_equal(beyond[:5, :10], whole[230:, 290:])
    assert (beyond[5:] == 255).all()
    assert (beyond[:, 10:] == 255).all()


def test_stored_levels_are_not_halved_a_second_time(tmp_path):
    slide = open_slide(write_aperio(tmp_path / "a.svs", PICTURE, mpp=0.25, levels=3), halves=True)
    assert [(level.downsample, level.halved) for level in slide.levels] == [
        (1, False),
        (2, False),
        (4, False),
        (8, True),
    ]


@pytest.mark.parametrize(
    "options", [{"compression": "deflate", "compressionargs": {}}, {"tile": (16, 16), "levels": 1}]
)
def test_lossless_tiles_and_tiny_ones_are_no_trap(tmp_path, options):
    path = write_generic(tmp_path / "a.tiff", PICTURE, mpp=0.25, **{"levels": 1, **options})
    slide = open_slide(path, halves=True)
    assert [level.halved for level in slide.levels][1:] == [True] * ("tile" in options)
    assert np.array_equal(slide.read(0, 0, 0, 601, 470), OpenSlideReader(path).read(0, 0, 0, 601, 470))


@pytest.mark.parametrize("behind", [b"\x00\x01\x02", bytes(range(1, 201))])
def test_bytes_behind_the_last_pixel_are_ignored_as_openslide_ignores_them(tmp_path, behind):
    tiles = list(encoded_tiles(colours="YCBCR", subsampling="420"))
    tiles[1] = tiles[1][:-2] + behind + tiles[1][-2:]
    path = write_tiles(tmp_path / "a.svs", tiles, photometric=6)
    assert np.array_equal(open_slide(path).read(0, 0, 0, 601, 470), OpenSlideReader(path).read(0, 0, 0, 601, 470))


def in_the_middle(put):
    return lambda tile: tile[: len(tile) // 2] + put + tile[len(tile) // 2 + len(put) :]


DAMAGED = {
    "a second half of zeros": lambda tile: tile[: len(tile) // 2] + bytes(len(tile) // 2),
    "cut short": lambda tile: tile[: len(tile) // 2],
    "no end": lambda tile: tile[:-2],
    "noise in the middle": in_the_middle(np.random.default_rng(1).bytes(40)),
    "a marker in the middle": in_the_middle(b"\xff\xd0"),
    "another size": lambda _: imagecodecs.jpeg8_encode(PICTURE[:96, :96].copy(), level=80, subsampling="420"),
}


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_jpeg_is_told_and_not_filled_with_grey(tmp_path, damage, halved):
    tiles = list(encoded_tiles(colours="YCBCR", subsampling="420"))
    tiles[1] = DAMAGED[damage](tiles[1])
    path = write_tiles(tmp_path / "a.svs", tiles, photometric=6)
    slow, slide = OpenSlideReader(path), open_slide(path, halves=True)
    with pytest.raises(UnreadablePart):
        slow.read(0, SIDE, 0, SIDE, SIDE)
    side = SIDE // (1 + halved)
    with pytest.raises(UnreadablePart, match=r"tile 1 of the level (601|300) px wide"):
        slide.read(int(halved), side, 0, side, side)
    assert np.array_equal(slide.read(0, 0, 0, SIDE, SIDE), slow.read(0, 0, 0, SIDE, SIDE))


def test_a_damaged_first_tile_does_not_cost_the_fast_decoder(tmp_path):
    tiles = list(encoded_tiles(colours="YCBCR", subsampling="420"))
    tiles[0] = DAMAGED["no end"](tiles[0])
    slide = open_slide(write_tiles(tmp_path / "a.svs", tiles, photometric=6), halves=True)
    assert [level.halved for level in slide.levels] == [False, True]
    with pytest.raises(UnreadablePart, match="tile 0 of the level 601 px wide: Premature end"):
        slide.read(0, 0, 0, SIDE, SIDE)


@pytest.mark.parametrize("halved", [False, True])
def test_tiles_that_are_no_jpeg_or_beyond_the_end_are_told(tmp_path, halved):
    tiles = list(encoded_tiles(colours="YCBCR", subsampling="420"))
    tiles[1] = bytes(len(tiles[1]))
    path = write_tiles(tmp_path / "a.svs", tiles, photometric=6)
    with tifffile.TiffFile(path) as file:
        end = file.pages[0].dataoffsets[-1] + file.pages[0].databytecounts[-1]
    with path.open("r+b") as file:
        file.truncate(end - 10)
    slide, side = open_slide(path, halves=True), SIDE // (1 + halved)
    slide.read(int(halved), 0, 0, side, side)
    with pytest.raises(UnreadablePart, match=r"tile 1 of the level (601|300) px wide: not a JPEG stream"):
        slide.read(int(halved), side, 0, side, side)
    with pytest.raises(UnreadablePart, match=r"tile 19 of the level (601|300) px wide lies beyond the end of the file"):
        slide.read(int(halved), 4 * side, 3 * side, side, side)
