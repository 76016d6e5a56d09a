"""What mitigations cost: copying against fidelity over each one's strengths.

``trial`` is what is asked, ``sampling`` and ``measuring`` do what is missing, ``results`` reads
it, ``report`` and ``figures`` show it, and ``command`` puts all together. The mitigations are
:mod:`anisomem.mitigation`, the measures :mod:`anisomem.measures`.
"""
