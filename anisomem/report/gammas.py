"""The weights of the anisotropy metric in a report: a table of them, and a line below tables."""

from collections.abc import Sequence

from anisomem.benchmark.results import Row
from anisomem.report.table import Table


def table(rows: Sequence[Row]) -> Table:
    """The weights of the anisotropy metric's terms, and where they come from."""
    cells = [
        [
            row.case,
            row.model,
            row.detector,
            row.n_shown,
            _spread(row.gamma.norm, row.gamma.norm_std),
            _spread(row.gamma.cos, row.gamma.cos_std),
            f"{row.gamma.cos / row.gamma.norm:.4g}" if row.gamma.norm else "–",
            row.gamma.source,
        ]
        for row in rows
        if row.gamma
    ]
    headings = [
        "prompts",
        "model",
        "detector",
        "n",
        "gamma_norm",
        "gamma_cos",
        "cos / norm",
        "from",
    ]
    notes = ["±: standard deviation over folds and noise seeds, where the weights are several."]
    return Table("Weights of the anisotropy metric", headings, cells, notes)


def notes(rows: Sequence[Row]) -> list[str]:
    """The weights in a line for each case."""
    by_case: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.gamma:
            gamma = row.gamma
            norm, cos = _spread(gamma.norm, gamma.norm_std), _spread(gamma.cos, gamma.cos_std)
            source = row.gamma.source.partition(":")[0].removesuffix(" by logistic regression")
            varies = f", n={row.n}" * (row.gamma.norm_std is not None or source == "equal")
            text = f"{row.detector}{varies}: {norm}, {cos} ({source})"
            by_case.setdefault(row.case, {})[text] = None
    return [f"{case}, gamma_norm, gamma_cos: {'; '.join(all_)}." for case, all_ in by_case.items()]


def _spread(value: float, std: float | None) -> str:
    return f"{value:.3g}" if std is None else f"{value:.3g} ± {std:.2g}"
