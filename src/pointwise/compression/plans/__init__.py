"""What became of each layer, to keep in a file and to build again."""
