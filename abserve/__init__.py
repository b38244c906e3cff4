"""Serve versions of a model side by side, split the traffic, promote on evidence."""

__version__ = "0.1.0"
