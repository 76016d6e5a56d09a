"""The bundled models and how they were made.

Their folders, which :data:`anisomem.config.catalog.VARIANTS` names, are loaded like any pipeline.
The other files made them: captions and pictures (``corpus``), networks and their training, and the
measurement of what they memorized (``ground_truth``). Training needs the extra "train".
"""
