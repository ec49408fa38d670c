"""Figures; import the modules by name."""
