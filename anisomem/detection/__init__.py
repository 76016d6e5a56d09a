"""The detector contract and the anisotropy metric."""
