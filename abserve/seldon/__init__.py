"""SeldonDeployments as values."""
