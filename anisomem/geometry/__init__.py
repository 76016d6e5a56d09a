"""``anisomem geometry``: the claims about the log-probability's geometry, measured."""
