"""The statistics of a table: point estimates, intervals, comparisons and fitted scores.

No file here knows prompts, detectors or models: labels, scores and clusters are arrays.
``summary`` puts together what a table says, in the words of ``estimates``; the other files are one
statistic each.
"""

from anisomem.evaluation.bands import roc_band, tpr_by_group
from anisomem.evaluation.bootstrap import (
    FAMILY_LEVEL,
    NOT_SEPARABLE,
    BootstrapStatistics,
    PairedDifference,
    enough_draws,
    least_p,
    paired_difference,
    statistics,
)
from anisomem.evaluation.curves import (
    RocCurve,
    auc,
    auc_and_tpr,
    released_tpr_at_fpr,
    resolution_note,
    roc_curve,
    strict_tpr_at_fpr,
    tpr_at_fpr,
)
from anisomem.evaluation.delong import (
    auc_degrees,
    delong,
    holm,
    logit_interval,
    paired_delong,
)
from anisomem.evaluation.estimates import Comparison, Estimate, Summary
from anisomem.evaluation.fitting import FoldFit, equal_weights, fit_in_folds, fit_weights, folds
from anisomem.evaluation.groups import inseparable_groups
from anisomem.evaluation.interval import (
    Interval,
    effective_clusters,
    expanded_quantiles,
    percentile_interval,
    rule_of_three,
    tpr_interval,
    wilson_interval,
)
from anisomem.evaluation.resampling import Resampling, resample
from anisomem.evaluation.summary import CLUSTERED, Evaluation
from anisomem.evaluation.text import character_model, text_only_scores, word_model
from anisomem.evaluation.ties import Ties, ties

__all__ = [
    "CLUSTERED",
    "FAMILY_LEVEL",
    "NOT_SEPARABLE",
    "BootstrapStatistics",
    "Comparison",
    "Estimate",
    "Evaluation",
    "FoldFit",
    "Interval",
    "PairedDifference",
    "Resampling",
    "RocCurve",
    "Summary",
    "Ties",
    "auc",
    "auc_and_tpr",
    "auc_degrees",
    "character_model",
    "delong",
    "effective_clusters",
    "enough_draws",
    "equal_weights",
    "expanded_quantiles",
    "fit_in_folds",
    "fit_weights",
    "folds",
    "holm",
    "inseparable_groups",
    "least_p",
    "logit_interval",
    "paired_delong",
    "paired_difference",
    "percentile_interval",
    "released_tpr_at_fpr",
    "resample",
    "resolution_note",
    "roc_band",
    "roc_curve",
    "rule_of_three",
    "statistics",
    "strict_tpr_at_fpr",
    "text_only_scores",
    "ties",
    "tpr_at_fpr",
    "tpr_by_group",
    "tpr_interval",
    "wilson_interval",
    "word_model",
]
