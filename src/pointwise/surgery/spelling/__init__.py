"""How layers may be spelt, what each spelling costs here, and the search among whole networks."""
