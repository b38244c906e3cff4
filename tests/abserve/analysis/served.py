"""What servers have counted, all of it in the minute from `BEGAN` on."""

from typing import Any

from abserve.analysis import Experiment
from abserve.analysis.counting import Variants
from abserve.slots import slot_of
from abserve.telemetry import Reading, ReplicaReading, Series

VARIANTS = Variants("v1", "v2")
CLASSES = ("setosa", "virginica")
ERROR_RATE = {"metric": "error_rate", "margin": 0.01}
REJECTIONS = {"metric": "rejection_rate", "margin": 0.01}
LATENCY = {"metric": "latency", "within_seconds": 0.1, "margin": 0.05}
DRIFT = {"metric": "prediction_drift", "margin": 0.1}
BEGAN, MINUTE = 1_800_000_000 // 60 * 60, 60


def experiment(*guardrails: dict[str, Any], **more: Any) -> Experiment:
    stated = {
        "deployment": "iris",
        "primary": {"metric": "accuracy"},
        "guardrails": guardrails,
        "interval_seconds": 60,
        "maturity_seconds": 120,
        "maximum_seconds": 600,
        "weight_steps": (50,),
        "step_seconds": 60,
    }
    return Experiment.model_validate({**stated, **more})


EXPERIMENT = experiment(ERROR_RATE, REJECTIONS, LATENCY, DRIFT)


def served(
    version: str,
    n: int,
    *,
    failed: int = 0,
    rejected: int = 0,
    slow: int = 0,
    setosa: int = 0,
    classes: tuple[str, ...] = CLASSES,
    header: str = "",
) -> dict[Series, float]:
    answered = n - failed - rejected
    seconds = {"0.05": 0, "0.1": answered - slow, "+Inf": answered}
    rows_of = {"setosa": setosa, "virginica": answered - setosa}
    rows = [
        ("units_total", {"period": "60", "slot": str(slot_of(BEGAN, MINUTE))}, n),
        ("unit_info", {"header": header}, 1),
        *(
            ("requests_total", {"outcome": outcome}, k)
            for outcome, k in (("ok", answered), ("failed", failed), ("rejected", rejected))
        ),
        *(("inference_seconds_bucket", {"le": le}, k) for le, k in seconds.items()),
        *(("predictions_total", {"label": label}, rows_of.get(label, 0)) for label in classes),
    ]
    return {
        Series.of(f"abserve_{name}", {**labels, "version": version}): float(value)
        for name, labels, value in rows
    }


def reading(at: float, /, **samples: dict[Series, float]) -> Reading:
    return Reading(at, {name: ReplicaReading(-1.0, of) for name, of in samples.items()})


START = reading(0, a=served("v1", 0), b=served("v2", 0))
