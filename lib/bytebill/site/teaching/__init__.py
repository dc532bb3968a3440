"""How does a session get its guide, its slides and its exercises? Out of the chapters' own pieces."""
