"""How does a reader find, trace and convert what the book says? Search, sources, dates, units."""
