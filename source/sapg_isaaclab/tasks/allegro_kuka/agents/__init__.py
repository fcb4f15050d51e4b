"""Agent configurations of the AllegroKuka tasks. No code but options."""
