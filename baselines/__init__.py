"""Published baselines, reimplemented from their formulas, one file each.

A file's docstring has the formula, the paper, and where the released code differs. The contract is
:mod:`anisomem.detection.base`, the settings are ``conf/detector``; the project's own metric is
:mod:`anisomem.detection.anisotropy`.
"""
