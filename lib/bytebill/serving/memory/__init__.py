"""Where do the cached tokens of a sequence go? Allocators, paged and contiguous, and what they waste."""
