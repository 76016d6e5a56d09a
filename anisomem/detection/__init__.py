"""The detector contract and the anisotropy metric.

``base`` is the contract, ``needs`` what a detector may ask of a model, ``options`` which values
its settings may have, ``configured`` makes the detectors of a run. Other papers' detectors are in
``baselines``; the evaluation of needs is in :mod:`anisomem.engine`.
"""
