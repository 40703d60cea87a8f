"""The network rewritten: its new layers refitted and recalibrated, and learning on where asked."""
