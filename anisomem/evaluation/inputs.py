"""What every statistic accepts, and the one-line errors for what it doesn't.

Notation of the package: ``N`` prompts, of which ``n+`` are memorized (label 1, positive) and
``n-`` are not; ``D`` detectors; larger scores mean more memorized.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def check_labels(labels: npt.ArrayLike) -> BoolArray:
    """Labels as booleans ``[N]``.

    Raises:
        ValueError: a label that is not 0 or 1, or one class only.
    """
    given = np.asarray(labels)
    wrong = given[(given != 0) & (given != 1)] if given.dtype.kind in "biuf" else given
    if wrong.size or given.ndim != 1:
        raise ValueError(
            "labels must be one 0 or 1 per prompt (1 = memorized),"
            f" got {wrong.ravel()[:3].tolist()} in shape {given.shape}"
        )

    memorized = given.astype(bool)
    n_positive = int(memorized.sum())
    if n_positive in (0, len(memorized)):
        raise ValueError(
            f"labels must hold both classes, got {n_positive} memorized and"
            f" {len(memorized) - n_positive} other prompts"
        )
    return memorized


def check_scores(
    scores: npt.ArrayLike, labels: npt.ArrayLike, ndim: int = 1
) -> tuple[FloatArray, BoolArray]:
    """Scores as float64, ``[N]`` or (``ndim=2``) ``[D, N]``, and labels as booleans ``[N]``.

    Raises:
        ValueError: as :func:`check_labels`; scores of another shape; NaN or infinite scores,
            which are never dropped in silence.
    """
    memorized = check_labels(labels)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != ndim:
        expected = "[N]" if ndim == 1 else "[D, N]"
        raise ValueError(f"scores must have shape {expected}, got {values.shape}")
    if values.shape[-1] != len(memorized):
        raise ValueError(
            f"scores hold {values.shape[-1]} prompts but labels {len(memorized)};"
            " give one score per label, in the same order"
        )

    n_nan, n_infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if n_nan or n_infinite:
        raise ValueError(
            f"scores hold {n_nan} NaN and {n_infinite} infinite values among {values.size};"
            " score these prompts again, or drop them for every detector"
        )
    return values, memorized


def check_clusters(clusters: npt.ArrayLike, labels: BoolArray) -> npt.NDArray[np.generic]:
    """Cluster names ``[N]``, integers or strings.

    Raises:
        ValueError: not one cluster per label.
    """
    names = np.asarray(clusters)
    if names.shape != labels.shape:
        raise ValueError(
            f"clusters have shape {names.shape} but labels {labels.shape};"
            " give one cluster per prompt"
        )
    return names


def clusters_by_class(clusters: npt.ArrayLike, labels: BoolArray) -> tuple[IntArray, IntArray]:
    """The number of each prompt's cluster, from 0 on in each class: memorized, and the others.

    Raises:
        ValueError: as :func:`check_clusters`.
    """
    names = check_clusters(clusters, labels)
    positives, negatives = (np.unique(names[c], return_inverse=True)[1] for c in (labels, ~labels))
    return positives, negatives


def check_fraction(name: str, value: float) -> None:
    """Refuses what is not a fraction in (0, 1).

    Raises:
        ValueError: with the fraction that was probably meant, for a percentage.
    """
    if not 0 < value < 1:
        hint = f"; use {value / 100:g} instead of {value:g}" if 1 <= value < 100 else ""
        raise ValueError(f"{name} must be a fraction in (0, 1), got {value:g}{hint}")
