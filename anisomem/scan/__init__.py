"""Prompts without labels: which stand out from ordinary ones, with a stated error rate.

``command`` is the way through: ``sources`` reads, ``scan`` says what is asked, ``complete``
records it, ``found`` judges, ``written`` and ``page`` are what is left for people.
"""
