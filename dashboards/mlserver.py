"""The page *MLServer*: whether requests are answered, how fast, and what they wait for."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.page import Row, deployment, namespace, page, replicas_and_versions
from dashboards.panels import AnyPanel, Levels, bars, lines, number
from dashboards.queries import (
    BY_VERSION,
    REPLICAS,
    VERSION,
    VERSIONS,
    Query,
    quantile,
    rate,
    seen,
    series,
    share,
    total,
)

_INFO = "abserve_model_info"
_SECONDS = "abserve_inference_seconds"
_INFER = 'path=~"/v2/models/.*/infer"'
_WHOLE = "rest_server_request_duration_seconds"
# What a request costs its user: the objective of latency is at the first of them.
_LATENCY = Levels(warn=0.05, act=0.25)
_ERRORS = Levels(warn=0.001, act=0.01)


def mlserver() -> Dashboard:
    """Return the page of the servers of one SeldonDeployment."""
    return page(
        "mlserver",
        "abserve / MLServer",
        "The servers of a SeldonDeployment, by predictor, model and version: errors, latency, "
        "requests, and what they wait for.",
        [namespace(_INFO), deployment(_INFO), *replicas_and_versions()],
        [
            Row("Do users get answers?", _answers()),
            Row("How long does it take?", _latency()),
            Row("What is asked?", _requests()),
            Row("What is it held up by?", _saturation()),
            Row("gRPC (empty if nobody speaks it)", _grpc(), collapsed=True),
        ],
    )


def _failed(by: str) -> str:
    failed = total(rate("abserve_requests_total", VERSIONS, 'outcome="failed"'), by)
    counted = total(rate("abserve_requests_total", VERSIONS, 'outcome=~"ok|failed"'), by)
    return share(failed, counted)


def _answers() -> tuple[AnyPanel, ...]:
    answered = series("abserve:gateway_requests:rate5m", REPLICAS)
    by_outcome = total(rate("abserve_requests_total", VERSIONS), f"{BY_VERSION}, outcome")
    return (
        number(
            "Failed requests",
            "Share of requests that failed by our fault (500), of those that were not the "
            "client's fault. Normal: 0. What reached no replica is not in it: see what callers "
            "got, below.",
            "percentunit",
            Query(_failed(""), "failed"),
            levels=_ERRORS,
            decimals=3,
            none="no requests",
        ),
        number(
            "Requests",
            "Inference requests in each second, whatever became of them.",
            "reqps",
            Query(total(rate("abserve_requests_total", VERSIONS)), "requests"),
        ),
        number(
            "99 % are faster than",
            "Of all answered requests: from the parsed request to its answer.",
            "s",
            Query(quantile(0.99, _SECONDS, VERSIONS), "p99"),
            levels=_LATENCY,
            none="no requests",
        ),
        number(
            "Replicas that serve",
            "Processes that loaded a version and are scraped, by version. Fewer than the "
            "SeldonDeployment wants: a replica does not start, or is not scraped.",
            "short",
            Query(f"count by ({BY_VERSION}) ({series(_INFO, VERSIONS)})", VERSION),
            runbook="model-unavailable",
        ),
        lines(
            "What callers got from the gateway",
            "Answers by the first digit of their status, over five minutes. 5 here that no replica "
            "counted as failed: no replica took the request - none is ready, or it was cut off.",
            "reqps",
            Query(answered, "{{predictor}}: {{code_class}}xx"),
            width=8,
            stacked=True,
            runbook="availability-budget-burn",
        ),
        lines(
            "Failed requests by version",
            "As above, by version. One version alone: roll it back. All at once: look at what "
            "they share - nodes, the model repository, the gateway.",
            "percentunit",
            Query(_failed(BY_VERSION), VERSION),
            width=8,
            levels=_ERRORS,
        ),
        lines(
            "Requests by outcome",
            "ok: answered. rejected: the client's fault (4xx), with the reasons below. failed: "
            "ours (500), with the reason in the log.",
            "reqps",
            Query(by_outcome, f"{VERSION} {{{{outcome}}}}"),
            width=8,
            stacked=True,
        ),
    )


def _latency() -> tuple[AnyPanel, ...]:
    whole = quantile(0.99, _WHOLE, REPLICAS, _INFER, by="predictor")
    inside = quantile(0.99, _SECONDS, VERSIONS, by="predictor")
    return (
        *(
            lines(
                f"{level * 100:g} % are faster than, by version",
                "From the parsed request to its answer. A candidate that is slower than the "
                "baseline on the same requests is slower itself: nothing else differs.",
                "s",
                Query(quantile(level, _SECONDS, VERSIONS, by=BY_VERSION), VERSION),
                width=8,
                levels=levels,
                logarithmic=True,
                minimum=None,
            )
            for level, levels in ((0.5, None), (0.95, _LATENCY), (0.99, _LATENCY))
        ),
        lines(
            "99 % of REST requests are faster than: whole, and inference alone",
            "Whole: from the request's first byte to the answer's last, with HTTP, JSON and "
            "waiting; its buckets begin at 5 ms. If it rises and inference does not, requests wait "
            "for the process: see what it is held up by.",
            "s",
            Query(whole, "{{predictor}}: whole"),
            Query(inside, "{{predictor}}: inference"),
            logarithmic=True,
            minimum=None,
        ),
        lines(
            "Mean time, by version",
            "A mean that rises while the median stays has an outlier behind it: large batches, or "
            "a replica that is short of CPU.",
            "s",
            Query(
                share(
                    total(rate(f"{_SECONDS}_sum", VERSIONS), BY_VERSION),
                    total(rate(f"{_SECONDS}_count", VERSIONS), BY_VERSION),
                ),
                VERSION,
            ),
        ),
    )


def _requests() -> tuple[AnyPanel, ...]:
    rows, requests = "abserve_batch_size_rows_sum", "abserve_batch_size_rows_count"
    refused, by_reason = "abserve_rejected_requests_total", f"{BY_VERSION}, reason"
    by_status = total(rate("rest_server_requests_total", REPLICAS), "predictor, path, status_code")
    return (
        lines(
            "REST requests by status code",
            "All HTTP requests, probes and metadata too, as MLServer counts them. 503: a model is "
            "loading. 404: a client asks for a model or version that is not served.",
            "reqps",
            Query(by_status, "{{predictor}}: {{status_code}} {{path}}"),
            stacked=True,
        ),
        lines(
            "Rejected requests by reason",
            "What clients send that does not fit, and is refused. A jump after a release of a "
            "client, or after a version with another schema: compare the versions.",
            "reqps",
            Query(
                seen(total(rate(refused, VERSIONS), by_reason), refused, VERSIONS, by=by_reason),
                f"{VERSION} {{{{reason}}}}",
            ),
            stacked=True,
        ),
        lines(
            "Rows per request",
            "How large clients' batches are: the mean, and what 95 % stay below. Time and memory "
            "grow with it.",
            "short",
            Query(
                share(
                    total(rate(rows, VERSIONS), BY_VERSION),
                    total(rate(requests, VERSIONS), BY_VERSION),
                ),
                f"{VERSION} mean",
            ),
            Query(
                quantile(0.95, "abserve_batch_size_rows", VERSIONS, by=BY_VERSION), f"{VERSION} p95"
            ),
        ),
        lines(
            "Rows predicted",
            "Rows answered in each second: what the work really is.",
            "rowsps",
            Query(total(rate("abserve_predicted_rows_total", VERSIONS), BY_VERSION), VERSION),
        ),
    )


def _saturation() -> tuple[AnyPanel, ...]:
    by_pod, pod = "predictor, pod", "{{predictor}} {{pod}}"
    busy = total(rate(f"{_SECONDS}_sum", REPLICAS), by_pod)
    inside = total(rate(f"{_WHOLE}_sum", REPLICAS, _INFER), by_pod)
    in_progress = total(series("rest_server_requests_in_progress", REPLICAS), by_pod)
    descriptors = f"{series('process_open_fds', REPLICAS)} / {series('process_max_fds', REPLICAS)}"
    return (
        lines(
            "CPU of each replica",
            "Cores in use. HTTP, JSON and the protocol run in one thread: near 1 core a replica "
            "is full and requests wait, whatever its limit is. Add replicas.",
            "short",
            Query(rate("process_cpu_seconds_total", REPLICAS), pod),
            levels=Levels(warn=0.7, act=0.95),
        ),
        lines(
            "Inference under way",
            "Requests that were being computed at once, on average: seconds of inference in each "
            "second. Near the number of cores, the model itself is what is slow.",
            "short",
            Query(busy, pod),
        ),
        lines(
            "Queue: REST requests inside each replica",
            "Requests that wait or are computed, on average: seconds spent inside in each second. "
            "What is more than beside waits for the process. In progress: MLServer's own counter "
            "at the moment of the scrape; what the fast path answers is never in it.",
            "short",
            Query(inside, pod),
            Query(in_progress, f"{pod}, in progress"),
        ),
        lines(
            "Memory of each replica",
            "Resident memory. A steady rise is a leak; a replica beyond its limit is killed.",
            "bytes",
            Query(series("process_resident_memory_bytes", REPLICAS), pod),
        ),
        bars(
            "File descriptors in use",
            "Share of what the process may open. Each connection is one.",
            "percentunit",
            Query(descriptors, pod),
            maximum=1,
            levels=Levels(warn=0.7, act=0.9),
        ),
        lines(
            "Time since the start of each replica",
            "A saw is a replica that is restarted again and again: see its log and its limits.",
            "s",
            Query(f"time() - {series('process_start_time_seconds', REPLICAS)}", pod),
            runbook="replica-crash-looping",
        ),
    )


def _grpc() -> tuple[AnyPanel, ...]:
    by = "predictor, grpc_method"
    return (
        lines(
            "gRPC requests by code",
            "As MLServer counts them. INVALID_ARGUMENT is the client's fault, INTERNAL ours.",
            "reqps",
            Query(
                total(rate("grpc_server_handled_total", REPLICAS), f"{by}, grpc_code"),
                "{{predictor}}: {{grpc_code}} {{grpc_method}}",
            ),
            stacked=True,
        ),
        lines(
            "99 % of gRPC requests are faster than",
            "From the first message to the last one.",
            "s",
            Query(
                seen(
                    quantile(0.99, "grpc_server_handling_seconds", REPLICAS, by=by),
                    "grpc_server_handling_seconds_count",
                    REPLICAS,
                    by=by,
                ),
                "{{predictor}}: {{grpc_method}}",
            ),
        ),
    )
