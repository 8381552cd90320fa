"""Labelled faces: scan a folder, load it, split it, import known formats, draw faces."""
