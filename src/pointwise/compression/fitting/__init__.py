"""The weights of the new layers: refitted, recalibrated, and learning on where that is asked."""
