"""Figures and tables from run folders. Nothing here needs a simulator."""
