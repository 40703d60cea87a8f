"""Models as C libraries: object code with the weights inside, and the C around it."""
