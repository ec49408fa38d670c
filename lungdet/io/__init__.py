"""Files to structures and back; import the modules by name."""
