"""How do the pages look, in light and dark, and what do they leave out?"""
