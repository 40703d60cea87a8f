"""Which form and rank each layer gets, so that the network keeps to its budget."""
