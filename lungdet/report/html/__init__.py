"""Self-contained HTML pages; import the modules by name."""
