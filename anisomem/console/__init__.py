"""What a person at a terminal sees besides the results: progress, and where words go."""
