"""How far is the model from the machine? Fits, comparisons with published numbers, and this machine's own bench."""
