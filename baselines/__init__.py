"""Published baselines, reimplemented from their formulas, one file each."""
