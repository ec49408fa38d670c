"""``lungdet serve``: takes scans by HTTP; needs the extra ``serve``.

The server keeps jobs in SQLite and hands them, one by one, to a worker
process, which does what ``lungdet infer`` does. Only ``lungdet.cli`` imports
this package.
"""
