"""Promotion through the Kubernetes API."""
