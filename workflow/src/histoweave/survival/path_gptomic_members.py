"""Members of Path-GPTOmic's ensemble: each with its own inner validation part, and panels that have not seen it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from histoweave.rng import generator
from histoweave.survival.cox import joined
from histoweave.survival.gene_encoders import EncoderSettings, panel_rule
from histoweave.survival.interface import Context, Patients
from histoweave.survival.omics import AlterationInput
from histoweave.survival.path_gptomic_inputs import Profile, fit_profile


def member_parts(
    train: Patients, validation: Patients, contexts: Sequence[Context], *, shared: bool
) -> list[tuple[Patients, Patients]]:
    """Training and inner validation part of each member: the given ones, then others of the same sizes.

    shared : all members have the given parts, as they must where they share a panel that was chosen by outcome
    """
    if shared:
        return [(train, validation)] * len(contexts)
    outer, parts = joined(train, validation), [(train, validation)]
    for own in contexts[1:]:
        rows = split_again(outer.event, len(validation), generator(own.seed, *own.names, "split"))
        parts.append(tuple(outer.subset(part) for part in rows))
    return parts


def split_again(event: np.ndarray, n_validation: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of another training and inner validation part, the latter of `n_validation` patients, balanced on events."""
    order = np.lexsort((rng.random(len(event)), event))
    validation = np.zeros(len(event), dtype=bool)
    validation[order[np.linspace(0, len(event) - 1, n_validation).round().astype(int)]] = True
    return np.flatnonzero(~validation), np.flatnonzero(validation)


def fit_panels(
    parts: Sequence[Patients], settings: EncoderSettings, context: Context
) -> tuple[Profile, list[np.ndarray | None]]:
    """Profile input over the union of the members' panels, scaled by the first part, and each member's columns of it.

    parts : the members' training parts. A panel chosen by outcome must not have seen the patients that stop the
    training, and these differ between members.
    """
    first = fit_profile(parts[0], settings, context, staged=False)
    outcome_free = settings.kind == "scgpt" or panel_rule(parts[0].expression_scale, settings) == "variance"
    if outcome_free or len(parts) == 1:
        return first, [None] * len(parts)
    panels = [first, *(fit_profile(part, settings, context, staged=False) for part in parts[1:])]
    everything = replace(settings, panel_genes=len(parts[0].genes))
    union = fit_profile(parts[0], everything, context, staged=False)
    union = union.only({gene for panel in panels for gene in panel.genes})
    return union, [_columns_in(union.genes, panel.genes) for panel in panels]


def fit_alteration_panels(
    parts: Sequence[Patients], *, clip: float, panel: int
) -> tuple[AlterationInput | None, list[np.ndarray | None]]:
    """Like `fit_panels`, of copy numbers and mutations."""
    everything = AlterationInput.fitted(parts[0], clip=clip)
    if everything is None or not 0 < panel < len(everything.names):
        return everything, [None] * len(parts)
    panels = [AlterationInput.fitted(part, clip=clip, panel=panel) for part in parts]
    union = everything.only({name for one in panels if one for name in one.names})
    return union, [_columns_in(union.names, one.names if one else ()) for one in panels]


def _columns_in(names: Sequence[str], chosen: Sequence[str]) -> np.ndarray:
    """Positions of `chosen` among `names`, in the order of `names`."""
    wanted = set(chosen)
    return np.array([column for column, name in enumerate(names) if name in wanted], dtype=int)
