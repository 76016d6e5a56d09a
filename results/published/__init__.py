"""Published numbers, as cards: what was reported, for what, and where it was read."""
