"""Video: frames in, followed persons and their smoothed answers out."""
