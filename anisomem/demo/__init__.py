"""A page in the browser that asks a model about one prompt after another.

What an answer consists of is made in ``answer``, of what ``prepare`` has made ready once, and
knows no page: ``scorer`` scores, ``verdict`` compares with ordinary prompts, ``known`` looks for
training pictures, ``examples`` chooses prompts to begin with. ``figures`` and ``shown`` draw
answers, ``interface`` is the page, and ``command`` serves it.
"""
