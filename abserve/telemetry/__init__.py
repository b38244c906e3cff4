"""Counts per version."""
