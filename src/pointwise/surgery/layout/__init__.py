"""Values of a graph with their axes in another order, so that channels stand second."""
