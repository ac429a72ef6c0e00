"""Path-GPTOmic's risks of three kinds, of both modalities or one alone, each with its own baseline hazard."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from histoweave.survival.bags import BatchSource
from histoweave.survival.balance import BRANCHES
from histoweave.survival.baseline import Baseline
from histoweave.survival.path_gptomic_network import PathGptomic
from histoweave.survival.train import TrainSettings, outputs_of

Baselines = dict[str, Baseline]


def fit_baselines(network: PathGptomic, sources: Sequence[BatchSource], settings: TrainSettings) -> Baselines:
    """Baseline hazard of each kind of risk (see `kinds_of`) over the outer training part."""
    outputs = [outputs_of(network, source, settings) for source in sources]
    values = {name: torch.cat([part[name] for part in outputs]).cpu().numpy() for name in outputs[0]}
    time = np.concatenate([source.time_days.numpy() for source in sources])
    event = np.concatenate([source.event.numpy() for source in sources])
    has = {f"has_{name}": np.concatenate([s.vectors[f"has_{name}"].numpy() > 0 for s in sources]) for name in BRANCHES}
    found = {}
    for kind, who in kinds_of(values, has).items():
        if (event[who] > 0).any():
            found[kind] = Baseline.fitted(time[who], event[who], values[kind][who])
    return found


def kinds_of(outputs: Mapping[str, np.ndarray], has: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Who (patient,) can have each kind of risk: those with both modalities the fused one, and so on."""
    if "fused" not in outputs:
        return {"risk": np.ones(len(outputs["risk"]), dtype=bool)}
    gene, slide = has["has_gene"], has["has_slide"]
    return {"fused": gene & slide, "gene": gene, "slide": slide}


def member_prediction(
    values: Mapping[str, np.ndarray],
    has: Mapping[str, np.ndarray],
    baselines: Baselines,
    horizons_days: Sequence[float],
) -> dict[str, np.ndarray]:
    """Risk and survival per patient, from the fused risk where both modalities are there."""
    n = len(values["risk"])
    out = {"risk": np.full(n, np.nan), "survival": np.full((n, len(horizons_days)), np.nan)}
    kinds = kinds_of(values, has)
    for kind in sorted(kinds, key=("slide", "gene", "fused", "risk").index):  # later ones go first in rank
        who, baseline = kinds[kind], baselines.get(kind)
        if baseline is None:
            continue
        out["risk"][who] = values[kind][who] - baseline.centre
        out["survival"][who] = baseline.survival(values[kind][who], horizons_days)
        if kind in BRANCHES:
            out[f"risk_{kind}"] = np.where(who, values[kind] - baseline.centre, np.nan)
    return out
