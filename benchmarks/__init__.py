"""Measurements of lungdet, with threads as its own programs set them."""

from lungdet.threads import set_threads

set_threads()  # before a benchmark imports torch
