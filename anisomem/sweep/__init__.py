"""``anisomem sweep``: records what the values of a setting need once, and scores them all.

``command`` lists the sweeps, each of which is one file; ``result`` writes what they find,
``figures`` draws. What must be recorded anew for every value is ``anisomem multirun``.
"""
