"""Training: from a model definition to a version in the repository."""
