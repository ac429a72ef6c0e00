"""Cards of encoders: what each takes, gives and allows. The cards themselves are data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from histoweave.errors import InputError, shorten

PERMISSIVE = ("Apache-2.0", "BSD-3-Clause", "MIT")
NORMS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "hoptimus": ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)),
    "hibou": ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)),
}
_SIZES = {"hidden": 4.0, "gated": False, "registers": 0, "embed_prefix": True, "scaled": False, "pooling": "cls"}
_NEEDED = ("patch", "dim", "depth", "heads")


@dataclass(frozen=True)
class EncoderCard:
    """One encoder of the registry.

    mpp : um/px it was trained at; tile : px; norm : (mean, sd) of rgb; dims : features per tile
    sha256 : of the weights, None where its makers name none; model : ``resnet50_stage3`` or sizes of a `VitShape`
    """

    name: str
    hub: str
    licence: str
    mpp: float
    tile: int
    norm: tuple[tuple[float, ...], tuple[float, ...]]
    dims: int
    sha256: str | None
    model: str | Mapping[str, Any]


def encoder_card(registry: Mapping[str, Mapping], name: str) -> EncoderCard:
    """Card of encoder `name` from the registry's content; raises InputError for an unknown or unfit one."""
    if name not in registry:
        known = shorten(["handcrafted", "handcrafted_torch", *registry], most=30)
        msg = f"encoder '{name}' is not known. Set slides.encoder.name to one of {known}."
        raise InputError(msg)
    entry = dict(registry[name])
    try:
        model = entry["model"]
        if isinstance(model, Mapping):
            if set(model) - set(_SIZES) - set(_NEEDED):
                raise KeyError(*sorted(set(model) - set(_SIZES) - set(_NEEDED)))
            model = {**_SIZES, **{key: model[key] for key in _NEEDED}, **model, "tile": entry["tile"]}
        return EncoderCard(name=name, **entry | {"norm": NORMS[entry["norm"]], "model": model})
    except (KeyError, TypeError) as error:
        msg = f"encoder '{name}' in resources/encoders.yaml: {error} is missing or unknown. Compare it with the others."
        raise InputError(msg) from error


def check_licence(card: EncoderCard, *, accepted: bool) -> None:
    """Raise InputError if the weights' licence restricts use and was not accepted."""
    if card.licence not in PERMISSIVE and not accepted:
        msg = (
            f"the weights of '{card.name}' are under {card.licence} ({card.hub}). "
            "Set slides.encoder.accept_licence to true if your use is within it."
        )
        raise InputError(msg)
