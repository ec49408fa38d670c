"""Self-contained HTML pages; import the modules by name."""

PAGE = 'report.html'  # where no other name is given
VIEWERS = ('niivue',)  # of the whole volume
