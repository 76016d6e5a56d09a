"""What a run leaves for people to read.

``report`` writes it all; tables are ``table`` (the value), ``tables`` and ``card``, pictures
``figures``, ``pairs``, ``doses`` and ``gallery``, in the style of ``style``. Nothing here computes
a statistic: :mod:`anisomem.evaluation` and ``Results`` do.
"""
