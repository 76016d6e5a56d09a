"""``anisomem geometry``: the claims about the log-probability's geometry, measured.

``record`` and ``evaluate`` take numbers from a model, ``analysis`` reads them with intervals,
``claims`` judges; ``closed``, ``dials``, ``theorem`` and ``tightness`` do the same where
everything is known in closed form. ``command`` puts all together.
"""
