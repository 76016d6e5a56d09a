"""What mitigated pictures are judged by."""
