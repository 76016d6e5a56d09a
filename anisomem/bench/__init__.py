"""What the project's claims about cost come to on this machine: ``anisomem bench``."""
