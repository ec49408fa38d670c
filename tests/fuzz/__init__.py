"""Damaged and hostile input for everything that the program reads.

``targets`` lists what is read, one line each; ``damage`` changes bytes by a
seed; ``corpus`` keeps inputs that once failed; ``worker`` tries them in a
process of bounded memory and time. ``tests/test_fuzz.py`` runs all of it.
"""
