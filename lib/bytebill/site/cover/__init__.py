"""What does the first page show? The bill that moves, the claims as squares, and the chapters."""
