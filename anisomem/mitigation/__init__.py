"""What keeps a model from copying: changes of the prompt, the noise or the attention."""
