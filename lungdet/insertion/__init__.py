"""Insertion of nodules into scans, without leaving traces."""
