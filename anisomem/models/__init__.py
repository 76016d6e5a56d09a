"""Diffusion models behind one contract."""
