"""``anisomem sweep``: records what the values of a setting need once, and scores them all."""
