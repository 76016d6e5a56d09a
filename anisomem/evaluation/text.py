"""The text-only control: what the prompt strings alone separate is no evidence about a model.

The detector that stands in the table with it is in ``baselines/controls.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.fitting import folds
from anisomem.evaluation.inputs import FloatArray, check_labels

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline  # type: ignore[import-untyped]


def word_model() -> Pipeline:
    """TF-IDF of lower-cased words and logistic regression, scikit-learn's defaults."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=2000))


def character_model() -> Pipeline:
    """Lower-cased n-grams of one to four characters within words, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
        LogisticRegression(C=10, class_weight="balanced", max_iter=2000),
    )


def text_only_scores(
    prompts: Sequence[str],
    labels: npt.ArrayLike,
    clusters: npt.ArrayLike,
    n_splits: int = 5,
    seed: int = 0,
    classifier: Callable[[], Pipeline] = word_model,
) -> FloatArray:
    """Out-of-fold decision values ``[N]`` of a classifier of the prompts.

    Vocabulary, document frequencies and weights come from the other folds only. The folds are
    those of :func:`fit_in_folds` for the same labels, clusters and seed.

    Arguments:
        prompts: ``N`` strings.
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``, kept together in the folds.
        n_splits, seed: As :func:`folds`.
        classifier: Makes the pipeline that is fitted in every fold.

    Raises:
        ValueError: as :func:`folds`, or not one prompt per label.
    """
    memorized = check_labels(labels)
    if len(prompts) != len(memorized):
        raise ValueError(f"got {len(prompts)} prompts but {len(memorized)} labels")
    texts = np.array(prompts, dtype=object)
    fold = folds(memorized, clusters, n_splits, seed)

    scores = np.empty(len(texts))
    from threadpoolctl import threadpool_limits

    # Fits this small only lose by threads, thirtyfold where other programs want the cores too.
    with threadpool_limits(1):
        for k in np.unique(fold):
            fitted = classifier().fit(texts[fold != k], memorized[fold != k])
            scores[fold == k] = fitted.decision_function(texts[fold == k])
    return scores
