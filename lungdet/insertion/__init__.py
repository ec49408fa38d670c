"""Insertion of nodules into scans, blended in realistically."""
