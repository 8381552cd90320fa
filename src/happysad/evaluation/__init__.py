"""Measure a model on a test set: figures with intervals, plots, heat maps and a report."""
