"""Training of the network on labelled crops, recorded in a run directory."""
