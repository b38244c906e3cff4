"""The Grafana dashboards, as code: ``python -m dashboards`` writes their JSON.

::

    queries ──> panels ──> pages ─────────────────────────────> manifests/monitoring/dashboards/
    (PromQL)               mlserver, model, experiment, slo     *.json, one ConfigMap each

A page is rows of panels, what hurts users first. A panel cannot be made without saying what it
shows, in which unit, and what to do about it. The metrics are those of ``docs/runtimes.md``, of
MLServer, of ``abserve rollout`` and of the recording rules in ``manifests/monitoring/rules``; tests
hold every name against what live processes expose.
"""
