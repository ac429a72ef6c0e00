import struct

import numpy as np
import openslide
import pytest
import tifffile
from unit.slides.pretend import overwrite_tile, tissue_picture, write_aperio, write_generic, zero_tile

from histoweave.errors import InputError
from histoweave.slides import native
from histoweave.slides.native import NativeReader, NotNative, ome_resolution
from histoweave.slides.opening import open_slide
from histoweave.slides.reader import OpenSlideReader, UnreadablePart
from histoweave.slides.resample import reduce_whole

PICTURE, _ = tissue_picture(700, 901, seed=12)
JPEG = {"compression": "jpeg", "compressionargs": {"level": 80}}
KINDS = {
    "aperio jpeg": (write_aperio, JPEG),
    "aperio jpeg 240": (write_aperio, JPEG | {"tile": (240, 240)}),
    "aperio jpeg rgb": (write_aperio, {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}),
    "aperio jpeg 2000": (write_aperio, {"compression": 33005, "compressionargs": {"level": 60, "codecformat": "j2k"}}),
    "generic jpeg": (write_generic, JPEG),
    "generic jpeg oblong": (write_generic, JPEG | {"tile": (128, 512)}),
    "generic lzw": (write_generic, {"compression": "lzw", "compressionargs": {}, "predictor": True}),
    "generic deflate": (write_generic, {"compression": "deflate", "compressionargs": {}}),
    "generic zstd": (write_generic, {"compression": "zstd", "compressionargs": {}}),
    "generic plain": (write_generic, {"compression": None, "compressionargs": None}),
}
REGIONS = {
    "aligned": (256, 256, 256, 256),
    "misaligned": (100, 33, 256, 256),
    "one pixel": (899, 699, 1, 1),
    "right edge": (800, 100, 256, 256),
    "lower edge": (100, 600, 256, 256),
    "left of the slide": (-30, -20, 100, 100),
    "far outside": (2000, 2000, 16, 16),
    "whole": (0, 0, 901, 700),
}


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    return {
        name: write(folder / f"{n}.{'svs' if write is write_aperio else 'tiff'}", PICTURE, mpp=0.5, **options)
        for n, (name, (write, options)) in enumerate(KINDS.items())
    }


@pytest.mark.parametrize("kind", KINDS)
def test_native_pixels_are_openslides_bit_for_bit(slides, kind):
    fast, slow = open_slide(slides[kind]), OpenSlideReader(slides[kind])
    assert (fast.reader, fast.levels) == ("native", slow.levels)
    for name, region in REGIONS.items():
        assert np.array_equal(fast.read(0, *region), slow.read(0, *region)), name
    assert np.array_equal(fast.read(1, 0, 0, 450, 350), slow.read(1, 0, 0, 450, 350))


def test_lossless_pixels_are_those_that_were_written(slides):
    assert np.array_equal(open_slide(slides["generic zstd"]).read(0, 0, 0, 901, 700), PICTURE)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"])
def test_real_slides_too(real_data, name):
    fast, slow = open_slide(real_data / "slides/real" / name), OpenSlideReader(real_data / "slides/real" / name)
    assert fast.reader == "native"
    for region in [(0, 0, 512, 512), (1000, 1500, 256, 256), (1001, 1777, 300, 200), (-10, -10, 50, 50)]:
        assert np.array_equal(fast.read(0, *region), slow.read(0, *region))
    edge = fast.levels[0].width - 100, fast.levels[0].height - 100, 256, 256
    assert np.array_equal(fast.read(0, *edge), slow.read(0, *edge))


def test_a_small_cache_changes_nothing(slides, monkeypatch):
    monkeypatch.setattr(native, "_CACHE_BYTES", 300_000)
    fast, slow = open_slide(slides["generic jpeg"]), OpenSlideReader(slides["generic jpeg"])
    for x in (0, 300, 100, 0):
        assert np.array_equal(fast.read(0, x, 50, 400, 300), slow.read(0, x, 50, 400, 300))
    assert 0 < fast._cached <= 300_000


def test_ome_pyramids_and_their_resolution_are_read(tmp_path):
    path = tmp_path / "a.ome.tiff"
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate"}
        meta = {"axes": "YXS", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
        file.write(PICTURE, subifds=1, metadata=meta, **options)
        file.write(PICTURE[::2, ::2], subfiletype=1, **options)
    slide = open_slide(path)
    assert slide.reader == "native"
    assert [level.downsample for level in slide.levels] == [1, 2]
    assert float(slide.properties["ome.mpp-x"]) == float(slide.properties["ome.mpp-y"]) == 0.25
    assert np.array_equal(slide.read(0, 100, 100, 300, 300), PICTURE[100:400, 100:400])
    assert np.array_equal(slide.read(1, 10, 10, 100, 100), PICTURE[::2, ::2][10:110, 10:110])


def test_jpeg_2000_in_a_generic_tiff_which_openslide_refuses(tmp_path):
    args = {"compression": 34712, "compressionargs": {"reversible": True, "level": 0}}
    path = write_generic(tmp_path / "a.tiff", PICTURE, mpp=0.5, levels=1, **args)
    with pytest.raises(InputError):
        OpenSlideReader(path)
    assert np.array_equal(open_slide(path).read(0, 10, 10, 300, 300), PICTURE[10:310, 10:310])


def forget_tile(path, number):
    """Set the length of a tile to nothing, as scanners do for glass that they did not scan."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages[0].tags["TileByteCounts"]
        tag.overwrite([0 if n == number else v for n, v in enumerate(tag.value)])


def test_a_slide_with_missing_tiles_is_openslides(tmp_path):
    path = write_generic(tmp_path / "a.tiff", PICTURE, mpp=0.5)
    forget_tile(path, 1)
    slide = open_slide(path)
    assert slide.reader == "openslide"
    assert (slide.read(0, 260, 10, 50, 50) == 255).all()


def test_a_slide_with_alpha_is_not_native(tmp_path):
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 200, dtype=np.uint8)])
    tifffile.imwrite(tmp_path / "a.tiff", rgba, photometric="rgb", tile=(256, 256), extrasamples=["unassalpha"])
    with pytest.raises(NotNative, match="not a plain grid"):
        NativeReader(tmp_path / "a.tiff", levels=None, properties={}, halves=False)


def test_striped_tiffs_are_not_native(tmp_path):
    tifffile.imwrite(tmp_path / "a.tiff", PICTURE, photometric="rgb")
    with pytest.raises(NotNative):
        NativeReader(tmp_path / "a.tiff", levels=[(901, 700)], properties={}, halves=False)


@pytest.mark.parametrize("damage", [bytes, np.random.default_rng(1).bytes], ids=["zeros", "noise"])
@pytest.mark.parametrize(
    "kind", ["aperio jpeg rgb", "aperio jpeg 2000", "generic lzw", "generic deflate", "generic zstd"]
)
def test_damage_is_told_by_every_codec(tmp_path, kind, damage):
    write, options = KINDS[kind]
    path = write(tmp_path / "a.tiff", PICTURE, mpp=0.5, **options)
    overwrite_tile(path, 1, damage)
    slide = open_slide(path)
    assert slide.reader == "native"
    with pytest.raises(UnreadablePart, match="tile 1 of the level 901 px wide"):
        slide.read(0, 256, 0, 256, 256)
    assert np.array_equal(slide.read(0, 0, 0, 256, 256), OpenSlideReader(path).read(0, 0, 0, 256, 256))


def test_a_zeroed_tile_is_told_and_others_are_read(tmp_path):
    path = write_aperio(tmp_path / "a.svs", PICTURE, mpp=0.5)
    whole = open_slide(path).read(0, 256, 256, 256, 256)
    zero_tile(path, 0)
    slide = open_slide(path)
    assert slide.reader == "native"
    with pytest.raises(UnreadablePart, match="tile 0 of the level 901 px wide"):
        slide.read(0, 0, 0, 300, 300)
    assert np.array_equal(slide.read(0, 256, 256, 256, 256), whole)


def test_channels_of_16_bits_are_not_native(tmp_path):
    stack = np.random.default_rng(1).integers(0, 4000, (3, 512, 512), dtype=np.uint16)
    options = {"photometric": "minisblack", "tile": (256, 256), "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "a.ome.tiff", stack, **options)
    assert open_slide(tmp_path / "a.ome.tiff").reader == "openslide"


@pytest.mark.parametrize("following", [lambda offsets: offsets[0], lambda _: 2**31 - 1], ids=["the first", "nowhere"])
def test_a_chain_of_pages_that_leads_back_or_nowhere_ends(tmp_path, following):
    path = write_aperio(tmp_path / "a.svs", PICTURE, mpp=0.5)
    whole = open_slide(path).read(0, 100, 33, 256, 256)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
        place = offsets[-1] + 2 + 12 * len(file.pages[-1].tags)  # where the last page names the next
    with path.open("r+b") as file:
        file.seek(place)
        assert file.read(4) == bytes(4)
        file.seek(place)
        file.write(struct.pack("<I", following(offsets)))
    assert np.array_equal(open_slide(path).read(0, 100, 33, 256, 256), whole)


def test_a_header_of_a_trillion_pixels_is_refused(tmp_path):
    path = write_generic(tmp_path / "a.tiff", PICTURE, mpp=0.5, levels=1)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageWidth"].overwrite(2**31 - 1)
        file.pages[0].tags["ImageLength"].overwrite(2**31 - 1)
    with pytest.raises(InputError, match=r"a.tiff (claims|cannot be opened)"):
        open_slide(path)


def test_properties_of_the_file_are_kept(slides):
    properties = open_slide(slides["aperio jpeg"]).properties
    assert properties[openslide.PROPERTY_NAME_MPP_X] == properties["aperio.MPP"] == "0.5"
    assert properties["openslide.vendor"] == "aperio"
    assert float(open_slide(slides["generic jpeg"]).properties["tiff.XResolution"]) == 20000


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ('<OME><Image><Pixels PhysicalSizeX="0.25" PhysicalSizeY="0.26"/></Image></OME>', ("0.25", "0.26")),
        ('<o:OME><o:Pixels ID="1" PhysicalSizeX="2.5E-4" PhysicalSizeXUnit="mm"/></o:OME>', ("0.25", None)),
        ('<Pixels PhysicalSizeX="0.5" PhysicalSizeXUnit="pixel"/>', (None, None)),
        ("<Pixels/>", (None, None)),
        ("not xml", (None, None)),
    ],
)
def test_resolution_in_ome_xml(xml, expected):
    found = ome_resolution(xml)
    assert (found.get("ome.mpp-x"), found.get("ome.mpp-y")) == expected


@pytest.mark.parametrize("kind", ["aperio jpeg", "aperio jpeg 240", "generic jpeg oblong", "generic zstd"])
def test_halves_are_the_means_of_what_is_stored(slides, kind):
    fast, slow = open_slide(slides[kind]), OpenSlideReader(slides[kind])
    for region in [(0, 0, 128, 128), (50, 17, 200, 128), (350, 222, 100, 128), (440, 340, 20, 20), (-5, -5, 20, 20)]:
        assert np.array_equal(fast.read_halved(0, *region), slow.read_halved(0, *region)), region
        assert np.array_equal(slow.read_halved(0, *region), reduce_whole(slow.read(0, *(2 * v for v in region)), 2))


@pytest.mark.parametrize(
    ("offset", "stride", "side"), [(0, 240, 240), (70, 240, 240), (20, 96, 96), (0, 120, 240), (33, 81, 240)]
)
@pytest.mark.parametrize("halved", [False, True])
def test_a_walk_along_rows_decodes_no_tile_twice(tmp_path, monkeypatch, offset, stride, side, halved):
    picture, _ = tissue_picture(700, 1400, seed=3)
    slide = open_slide(write_generic(tmp_path / "a.tiff", picture, mpp=0.5, levels=1, tile=(48, 48)))
    honest, decoded = slide._decode, []
    monkeypatch.setattr(slide, "_decode", lambda stored, number: decoded.append(number) or honest(stored, number))
    part = 1 + halved
    read = slide.read_halved if halved else slide.read
    for y in range(offset, 700 - side, stride):
        for x in range(offset, 1400 - side, stride):
            read(0, x // part, y // part, side // part, side // part)
    again = len(decoded) - len(set(decoded))
    # the first region of a walk that overlaps is read before that is known
    assert again <= (25 if stride < side else 0)


def test_label_and_macro_images_are_no_levels_and_are_never_asked_for(tmp_path, monkeypatch):
    text = "Aperio Image Library v12\r\n901x700 (256x256) JPEG|MPP = 0.5"
    secret = np.full((320, 400, 3), (255, 0, 255), dtype=np.uint8)
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as file:
        file.write(PICTURE, photometric="rgb", tile=(256, 256), description=text, metadata=None, **JPEG)
        for name in ("label", "macro"):
            text = f"Aperio\r\n{name} 400x320"
            file.write(secret, photometric="rgb", description=text, metadata=None, rowsperstrip=64)
    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(lambda _: pytest.fail("asked for")))
    slide = open_slide(path, halves=True)
    assert {(level.width, level.height) for level in slide.levels} <= {(901, 700), (450, 350)}
    assert not (slide.read(0, 0, 0, 901, 700) == (255, 0, 255)).all(axis=2).any()


def test_jpeg_tiles_of_an_ome_tiff_are_openslides(tmp_path):
    path = tmp_path / "a.ome.tiff"
    options = {"photometric": "rgb", "tile": (256, 256), **JPEG}
    tifffile.imwrite(path, PICTURE, ome=True, metadata={"axes": "YXS", "PhysicalSizeX": 0.5}, **options)
    fast, slow = open_slide(path), OpenSlideReader(path)
    assert fast.reader == "native"
    for region in REGIONS.values():
        assert np.array_equal(fast.read(0, *region), slow.read(0, *region))
