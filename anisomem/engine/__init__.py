"""Evaluates a model for all detectors of a run at once, and nothing twice.

``engine`` merges what detectors need and makes their components of it; ``noise_sample`` holds the
passes that serve one noise sample, the only place to which a new need adds its evaluation;
``batches`` is the model with a batch size that fits its memory. ``tensors`` keeps whole
evaluations of a few prompts; ``counting`` counts what detectors would evaluate. Which prompts
there are, and where components are kept, is not known here.
"""
