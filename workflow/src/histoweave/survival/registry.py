"""Which module holds which survival method. A new method is a new file and a line here."""

import importlib
from types import ModuleType

from histoweave.errors import InputError
from histoweave.survival.interface import Needs

METHODS = (
    "cox_clinical",
    "coxnet_rna",
    "coxnet_slide",
    "coxnet_both",
    "rsf_rna",
    "abmil_wsi",
    "meanpool_wsi",
    "transmil_wsi",
    "snn_rna",
    "late_fusion",
    "mcat",
    "survpath",
    "ghanet",
    "path_gptomic",
)

WITHOUT_NETWORK = frozenset({"cox_clinical", "coxnet_rna", "coxnet_slide", "coxnet_both", "rsf_rna"})


def method_module(name: str) -> ModuleType:
    """Module of the method called `name`; raises InputError for an unknown one."""
    if name not in METHODS:
        msg = f"survival method '{name}' is unknown; known: {', '.join(METHODS)}. Change survival.models."
        raise InputError(msg)
    return importlib.import_module(f"histoweave.survival.{name}")


def picked_device(name: str, wanted: str) -> object:
    """Device for the method called `name`; methods without a network never load torch."""
    if name in WITHOUT_NETWORK:
        return "cpu"
    from histoweave.device import pick_device

    return pick_device(wanted)


def needs_of(module: ModuleType, settings: object) -> Needs:
    """What a patient must have for the method in `module` under `settings`."""
    if hasattr(module, "needs"):
        return module.needs(settings)
    return Needs(train=frozenset(module.NEEDS_TRAIN), predict=frozenset(module.NEEDS_PREDICT))
