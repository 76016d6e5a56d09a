"""What mitigated pictures are judged by.

``base`` is the contract, each other file one kind of measure; ``weights`` and
``training_pictures`` are what they read. Which pictures are measured, and what tables say of them,
is :mod:`anisomem.tradeoff`.
"""
