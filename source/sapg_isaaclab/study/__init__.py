"""Learning benchmark that needs no simulator: environments, bars to pass, return against their number."""
