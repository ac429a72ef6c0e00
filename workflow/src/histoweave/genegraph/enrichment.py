"""Which gene sets are over-represented in a module: hypergeometric test, Benjamini-Hochberg over all of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import hypergeom


def enrich(modules: pd.DataFrame, sets: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Test every gene set in every module.

    modules : ``gene``, ``module``; the background is its genes. sets : name -> positions among them
    Returns ``module``, ``term``, ``overlap``, ``module_genes``, ``term_genes``, ``rich_factor`` (overlap / term),
    ``fold``, ``p_value``, ``q_value`` and ``genes`` (joined by a space), best first. Pairs without overlap are tested
    and counted, but not listed.
    """
    genes, label = modules["gene"].to_numpy(str), modules["module"].to_numpy(str)
    names = [name for name in np.unique(label) if name != "none"]
    member = np.stack([label == name for name in names]) if names else np.zeros((0, len(genes)), dtype=bool)
    term = np.zeros((len(sets), len(genes)), dtype=bool)
    for row, place in zip(term, sets.values(), strict=True):
        row[place] = True
    overlap = member.astype(int) @ term.T.astype(int)  # (module, term)
    size, width = member.sum(axis=1)[:, None], term.sum(axis=1)
    # P(X >= overlap), X hypergeometric: `width` draws from the background with `size` genes of the module
    p = hypergeom.sf(overlap - 1, len(genes), size, width)
    q = benjamini_hochberg(p.ravel()).reshape(p.shape)
    rows = [
        {
            "module": names[m],
            "term": list(sets)[t],
            "overlap": int(overlap[m, t]),
            "module_genes": int(size[m, 0]),
            "term_genes": int(width[t]),
            "rich_factor": overlap[m, t] / width[t],
            "fold": overlap[m, t] * len(genes) / (size[m, 0] * width[t]),
            "p_value": p[m, t],
            "q_value": q[m, t],
            "genes": " ".join(genes[member[m] & term[t]]),
        }
        for m, t in zip(*np.nonzero(overlap), strict=True)
    ]
    columns = ["module", "term", "overlap", "module_genes", "term_genes", "rich_factor", "fold", "p_value", "q_value"]
    found = pd.DataFrame(rows, columns=[*columns, "genes"])
    return found.sort_values(["p_value", "module", "term"], kind="stable", ignore_index=True)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(test,) q values of p values (doi:10.1111/j.2517-6161.1995.tb02031.x)."""
    order = np.argsort(p, kind="stable")
    raised = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1)
    return q
