"""The bundled models and how they were made."""
