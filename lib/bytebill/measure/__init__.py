"""How fast is this machine, and how far off is the roofline? Measurements in turns, each beside its prediction."""
