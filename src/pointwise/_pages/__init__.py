"""What every page and picture of the package looks like: one style, whoever makes them."""
