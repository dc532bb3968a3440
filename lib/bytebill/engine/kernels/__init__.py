"""How does a token meet its weights and its cache? This book's CPU kernels, and the products built on them."""
