"""How do executed notebooks become the book that is read? Sphinx extension, checks and photographs."""
