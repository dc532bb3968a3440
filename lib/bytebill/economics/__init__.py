"""What does a token cost, and who should serve it? Exact arithmetic over sourced prices; standard library only."""
