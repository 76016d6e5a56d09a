"""What keeps a model from copying: changes of the prompt, the noise or the attention.

``base`` is the contract, each other file one method or what several share. How much a method
changes, and what it costs, is measured in :mod:`anisomem.tradeoff`.
"""
