"""Diffusion models behind one contract.

``base`` is the contract, ``prediction`` and ``schedule`` its mathematics, ``pipeline`` what
families of diffusers share; a family is one file, such as ``sdxl``. ``loading``, ``parts``,
``files`` and ``agreement`` get a pipeline from what a user names. ``analytic`` is exact.
"""
