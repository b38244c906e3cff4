"""The gateway: what Envoy is told."""
