"""Where are keys and values kept while a sequence is served? Contiguous, paged and latent caches."""
