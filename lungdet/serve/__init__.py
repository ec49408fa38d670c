"""``lungdet serve``: an HTTP service for scans; needs the extra ``serve``.

The server stores jobs in SQLite and runs them one at a time in a worker
process, which does the same as ``lungdet infer``. Only ``lungdet.cli`` imports
this package.
"""
