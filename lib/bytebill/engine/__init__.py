"""What does a token cost when it is really computed? Layers, caches and kernels, and the loop that serves with them."""
