"""Hydra's configuration groups."""
