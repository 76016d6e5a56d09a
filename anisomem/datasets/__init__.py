"""Prompt sets.

``prompts`` is what a set is; the published ones are ``cards``, ``fetch`` and ``published``, a
user's own ``places``, ``files``, ``tables`` and ``labels``. Everything untrusted is read here
within bounds. Which set a run takes, and how much of it, is :mod:`anisomem.run.labelled`.
"""
