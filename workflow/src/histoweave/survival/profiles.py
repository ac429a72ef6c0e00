"""Expression profiles as model input: one scale for all declared ones, then what the training part teaches.

counts and TPM become log2(1 + per million); log2 TPM and z-scores stay. Genes are chosen by variance, centred, scaled
and clipped with numbers of the training part alone (z-scores of public tables reach 36,893).
"""

from dataclasses import dataclass

import numpy as np

from histoweave.errors import InputError, shorten


def comparable(expression: np.ndarray, scale: str) -> np.ndarray:
    """Return (patient, gene) float64 in log2 per million, or unchanged for log2 TPM and z-scores."""
    values = np.asarray(expression, dtype=np.float64)
    if scale in ("counts", "tpm"):
        depth = values.sum(axis=1, keepdims=True)
        return np.log2(1.0 + values / np.where(depth > 0, depth, 1.0) * 1e6)
    return values


def _refuse_gaps(expression: np.ndarray, genes: tuple[str, ...]) -> None:
    """Raise InputError for profiles (patient, gene) that lack some genes; a row of NaN is a patient without any."""
    gaps = ~np.isfinite(expression) & ~np.isnan(expression).all(axis=1, keepdims=True)
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        msg = (
            f"{int(gaps.any(axis=0).sum())} of {len(genes)} genes have missing or infinite expression (first: gene "
            f"'{genes[column]}' in profile {row}). Fill them, or take these genes out of inputs.expression."
        )
        raise InputError(msg)


@dataclass(frozen=True)
class ProfileScale:
    """What the training part teaches about profiles.

    genes : (gene,) names of the chosen genes; mean, sd : (gene,); clip : bound before and after scaling, in SDs
    scale : declared scale of the input
    """

    genes: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    clip: float
    scale: str

    @classmethod
    def fitted(
        cls,
        expression: np.ndarray,
        genes: tuple[str, ...],
        scale: str,
        *,
        n_genes: int,
        clip: float,
        only: frozenset[str] | None = None,
    ) -> "ProfileScale":
        """Fit on the training part's (patient, gene); patients without a profile are rows of NaN and not used.

        n_genes : the most variable genes (0 = all that vary); only : choose among these genes
        """
        _refuse_gaps(expression, genes)
        values = comparable(expression, scale)
        values = values[~np.isnan(values).all(axis=1)]
        if not len(values):
            msg = "no training patient has an expression profile. Check that the names in inputs.expression agree."
            raise InputError(msg)
        if scale == "zscore":
            values = np.clip(values, -clip, clip)
        mean, sd = values.mean(axis=0), values.std(axis=0)
        allowed = np.array([only is None or gene in only for gene in genes]) & (sd > 1e-8)
        if not allowed.any():
            msg = "no gene varies between the training patients. Check inputs.expression."
            raise InputError(msg)
        order = np.lexsort((np.arange(len(genes)), -np.where(allowed, sd, -1.0)))
        kept = np.sort(order[: min(n_genes or len(genes), int(allowed.sum()))])
        return cls(tuple(genes[g] for g in kept), mean[kept], sd[kept], clip, scale)

    def __call__(self, expression: np.ndarray, genes: tuple[str, ...], scale: str) -> np.ndarray:
        """(patient, gene) float64, standardised and clipped; rows of NaN stay so.

        Raises InputError if a gene of the model is not there or the scale is another.
        """
        place = {gene: column for column, gene in enumerate(genes)}
        missing = [gene for gene in self.genes if gene not in place]
        if missing or scale != self.scale:
            msg = (
                f"{len(missing)} of the model's {len(self.genes)} genes are not in the expression table"
                f" ({shorten(missing)}), given as '{scale}', fitted on '{self.scale}'. Give the genes and scale "
                "that the model was trained on."
            )
            raise InputError(msg)
        _refuse_gaps(expression, genes)
        values = comparable(expression, scale)[:, [place[gene] for gene in self.genes]]
        if scale == "zscore":
            values = np.clip(values, -self.clip, self.clip)
        return np.clip((values - self.mean) / self.sd, -self.clip, self.clip)

    def state(self, prefix: str) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and settings for `restored`."""
        meta = {"genes": list(self.genes), "clip": self.clip, "scale": self.scale}
        return {f"{prefix}.mean": self.mean, f"{prefix}.sd": self.sd}, meta

    @classmethod
    def restored(cls, tensors: dict[str, np.ndarray], meta: dict, prefix: str) -> "ProfileScale":
        """Inverse of `state`."""
        mean, sd = tensors[f"{prefix}.mean"], tensors[f"{prefix}.sd"]
        return cls(tuple(meta["genes"]), mean, sd, meta["clip"], meta["scale"])
