"""Insertion of nodules into scans, without traces of it."""
