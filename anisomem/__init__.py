"""A benchmark harness for memorization detectors of text-to-image diffusion models.

A run records what detectors read of a model (``benchmark``, over ``engine``, ``detection`` and
``models``) and makes tables of it (``report``); sweeps, trade-offs and the geometry have rooms of
their own. docs/architecture.md has the picture: nothing imports upwards. The detectors of other
papers are ``baselines``, the settings ``conf``.
"""
