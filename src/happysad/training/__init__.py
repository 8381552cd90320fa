"""From labelled crops to a trained network, in a run directory that tells how."""
