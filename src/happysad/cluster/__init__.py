"""Jobs for many cores and many machines, on Ray."""
