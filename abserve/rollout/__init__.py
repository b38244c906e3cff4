"""Rollout: the controller that raises a candidate's weight, and promotes it or rolls it back.

It reads what was counted, writes every block and decision to an audit log, and changes the
SeldonDeployment through the Kubernetes API. Nothing here knows whether the cluster is local.
"""
