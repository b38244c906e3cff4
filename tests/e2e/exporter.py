"""A process whose counters a test drives, exposed as the runtimes expose theirs.

``python exporter.py <port> <version>``; POST a list of ``[metric, {label: value}, amount]``, and
GET the exposition.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import Counter, Gauge, Histogram, generate_latest

OWN = ("model", "version")
COUNTERS = {
    name: Counter(f"abserve_{name}", name, (*OWN, *labels))
    for name, labels in (
        ("requests", ("outcome",)),
        ("units", ("period", "slot")),
        ("predictions", ("label",)),
        ("outcomes", ("metric", "period", "slot")),
        ("outcome_sum", ("metric", "period", "slot")),
    )
}
SECONDS = Histogram("abserve_inference_seconds", "seconds", OWN, buckets=(0.01, 0.1, 1.0))
UNIT_INFO = Gauge("abserve_unit_info", "1", (*OWN, "header"))


class Handler(BaseHTTPRequestHandler):
    version = ""

    def do_GET(self) -> None:
        self.answer(generate_latest())

    def do_POST(self) -> None:
        for name, labels, amount in json.loads(
            self.rfile.read(int(self.headers["content-length"]))
        ):
            of = {"model": "iris", "version": self.version, **labels}
            if name == "seconds":
                SECONDS.labels(**of).observe(amount)
            else:
                COUNTERS[name].labels(**of).inc(amount)
        self.answer(b"")

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main(port: int, version: str) -> None:
    Handler.version = version
    of = {"model": "iris", "version": version}
    for outcome in ("ok", "rejected", "failed"):
        COUNTERS["requests"].labels(**of, outcome=outcome)
    for label in ("setosa", "virginica"):
        COUNTERS["predictions"].labels(**of, label=label)
    COUNTERS["units"].labels(**of, period="1", slot="0")
    SECONDS.labels(**of)
    UNIT_INFO.labels(**of, header="").set(1)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
