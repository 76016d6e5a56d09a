"""What a run leaves for people to read.

``report`` writes it all; tables are ``table`` (the value), ``tables`` and ``card``, pictures
``figures``, ``curves``, ``pareto``, ``pairs``, ``doses`` and ``gallery``, in the style of
``style`` and the ``colours`` of their detectors; ``said``, ``terms`` and ``descriptions`` are the
page's words. Nothing here computes a statistic: :mod:`anisomem.evaluation` and ``Results`` do.
"""
