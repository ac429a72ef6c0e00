"""Micrometres per pixel of a slide: from which source, and whether to believe it.

A wrong resolution silently changes what a tile shows, so that its source is always named
and an implausible value is refused rather than used.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from histoweave.errors import InputError
from histoweave.units import UmPerPx

_UM_PER_UNIT = {"centimeter": 1e4, "centimetre": 1e4, "cm": 1e4, "inch": 25400.0, "millimeter": 1e3, "mm": 1e3}
_VENDOR_KEYS = (
    ("aperio.MPP", "aperio.MPP"),
    ("hamamatsu.XResolution", "hamamatsu.YResolution"),
    ("mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X", "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_Y"),
    ("philips.mpp-x", "philips.mpp-y"),
)
_POWER_TIMES_MPP = 10.0  # 20x is close to 0.5 um/px, 40x to 0.25, on the scanners in use
_MOST_ANISOTROPIC = 1.05


@dataclass(frozen=True)
class ResolutionSettings:
    """Which resolutions are believed.

    minimum_mpp, maximum_mpp : plausible um/px; a scan at 72 dpi claims 352.78
    use_power : take 10 / objective power where a slide gives nothing better (off by up to 20 %)
    """

    section: ClassVar[str] = "slides.resolution"
    minimum_mpp: float
    maximum_mpp: float
    use_power: bool


@dataclass(frozen=True)
class Resolution:
    """um/px of level 0, the `source` that it came from, and what the file itself said (None: nothing)."""

    mpp: UmPerPx
    source: str
    in_file: float | None


def resolve(
    properties: Mapping[str, str], *, given: float | None, slide: str, settings: ResolutionSettings
) -> Resolution:
    """Resolution of `slide` from the table's value (`given`), otherwise from the file's `properties`.

    `properties` has OpenSlide's names; ``ome.mpp-x`` and ``tiff.XResolution`` are read too. Raises
    InputError where nothing plausible is found; it names the row of slides.tsv to fill in.
    """
    found = file_candidates(properties)
    plausible = [(value, source) for value, source in found if _plausible(value, settings)]
    in_file = plausible[0][0] if plausible else None
    if given is not None and not math.isnan(given):
        if not _plausible(given, settings):
            msg = (
                f"slide {slide}: slides.tsv gives mpp {given:g}, outside of "
                f"{settings.minimum_mpp:g} to {settings.maximum_mpp:g} um/px. Correct 'mpp' for {slide} in slides.tsv."
            )
            raise InputError(msg)
        return Resolution(UmPerPx(given), "table", in_file)
    if plausible:
        return Resolution(UmPerPx(plausible[0][0]), plausible[0][1], in_file)
    power = _number(properties.get("openslide.objective-power") or properties.get("aperio.AppMag"))
    if settings.use_power and power and _plausible(_POWER_TIMES_MPP / power, settings):
        return Resolution(UmPerPx(_POWER_TIMES_MPP / power), "power", None)
    raise InputError(_refusal(slide, found, power, settings))


def file_candidates(properties: Mapping[str, str]) -> list[tuple[float, str]]:
    """(um/px, source) of all that a file says about its resolution, the most trusted first."""
    pairs = [(("openslide.mpp-x", "openslide.mpp-y"), "property")]
    pairs += [(keys, "vendor") for keys in _VENDOR_KEYS]
    pairs += [(("ome.mpp-x", "ome.mpp-y"), "ome")]
    found = []
    for (key_x, key_y), source in pairs:
        value = _mean(_number(properties.get(key_x)), _number(properties.get(key_y)))
        if value is not None:
            found.append((value, source))
    tiff = _from_tiff(properties)
    return found + ([(tiff, "tiff")] if tiff is not None else [])


def _from_tiff(properties: Mapping[str, str]) -> float | None:
    unit = _UM_PER_UNIT.get(str(properties.get("tiff.ResolutionUnit", "")).lower())
    x, y = (_number(properties.get(f"tiff.{axis}Resolution")) for axis in "XY")
    if unit is None or not x:
        return None
    return _mean(unit / x, unit / y if y else None)


def _mean(x: float | None, y: float | None) -> float | None:
    """Mean of both axes; NaN, which no window accepts, where they differ too much for square tiles."""
    if not x:
        return None
    y = y or x
    return math.sqrt(x * y) if max(x, y) / min(x, y) <= _MOST_ANISOTROPIC else math.nan


def _number(text: object) -> float | None:
    try:
        value = float(str(text).replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _plausible(mpp: float, settings: ResolutionSettings) -> bool:
    return settings.minimum_mpp <= mpp <= settings.maximum_mpp


def _refusal(slide: str, found: list[tuple[float, str]], power: float | None, settings: ResolutionSettings) -> str:
    if found:
        value, source = found[0]
        said = "differs between its axes" if math.isnan(value) else f"is {value:.4g} um/px"
        what = (
            f"the resolution in the file ({source}) {said}; believed are "
            f"{settings.minimum_mpp:g} to {settings.maximum_mpp:g} um/px"
        )
    else:
        what = "the file gives no micrometres per pixel"
    hint = f"; its objective power of {power:g} suggests {_POWER_TIMES_MPP / power:.3g}" if power else ""
    return f"slide {slide}: {what}. Set 'mpp' for {slide} in slides.tsv{hint or '; a 40x scan is usually 0.25'}."
