"""The command line: a file per command, and nothing in it but options and words."""
