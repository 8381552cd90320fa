"""Evaluation of a model: metrics with intervals, charts, heat maps and a report."""
