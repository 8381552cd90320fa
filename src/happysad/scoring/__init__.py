"""Batch scoring of many images, on Ray."""
