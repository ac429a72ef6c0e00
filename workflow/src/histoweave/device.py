"""Where tensors live. Picked once, in the script, and passed on."""

from typing import TYPE_CHECKING

from histoweave.errors import InputError

if TYPE_CHECKING:
    import torch


def pick_device(wanted: str) -> "torch.device":
    """Torch device for `wanted`: ``auto`` (the first GPU, otherwise the CPU), ``cpu`` or ``cuda``."""
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        msg = "device 'cuda' was asked for, but torch sees no GPU here. Set device to 'auto' or 'cpu'."
        raise InputError(msg)
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def torch_generator(seed: int, *names: object) -> "torch.Generator":
    """CPU generator of the task called `names` under the run's `seed` (see `histoweave.rng`)."""
    import torch

    from histoweave.rng import derive_seed

    return torch.Generator().manual_seed(derive_seed(seed, *names))
