"""Damaged and hostile input for everything that the program reads.

``targets`` lists what is read, in groups; ``damage`` has a mutator for each
kind of container, whose changes follow from a seed; ``corpus`` keeps what once
failed; ``oracles`` say whether changed values are those that the file states;
``worker`` tries and judges inputs in a process of bounded memory and time.
``tests/test_fuzz.py`` runs all of it.
"""
