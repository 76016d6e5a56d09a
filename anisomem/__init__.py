"""A benchmark harness for memorization detectors of text-to-image diffusion models."""
