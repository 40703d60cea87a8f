"""Classifiers made dense: how the data flow of a network is read, and rewritten to slide."""
