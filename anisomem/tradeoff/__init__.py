"""What mitigations cost: copying against fidelity over each one's strengths."""
