"""Agent configurations of the in-hand tasks. No code but options."""
