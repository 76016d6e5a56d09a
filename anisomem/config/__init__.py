"""Turns the words of a command line into the settings of a case, and settings into objects.

``overrides`` reads the words, ``schema`` says which settings there are and ``values`` what they
may hold, ``catalog`` and ``registry`` know what can be named, ``compose`` puts all together with
Hydra, and ``build`` makes the object that some settings describe. Hydra's own types end here: what
leaves is a :class:`~anisomem.config.schema.Config` of plain values. Nothing here knows what a
detector, a model or a prompt set is.
"""
