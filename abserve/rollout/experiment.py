"""The experiment file, as it lies on a disk or in a mounted ConfigMap."""

from pathlib import Path

from abserve.analysis import Experiment
from abserve.analysis.document import MOST_BYTES
from abserve.analysis.reading import read_experiment
from abserve.errors import ExperimentError


def load_experiment(path: Path) -> Experiment:
    """Read what an experiment file states.

    Raises
    ------
    ExperimentError
        If the file cannot be read, or states no experiment; then each line of the message is one
        mistake, with file and line.
    """
    try:
        with path.open("rb") as file:
            # One byte more shows that it is too long, however long it is.
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ExperimentError(
            f"{path} cannot be read ({error.strerror}); expected an experiment file"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ExperimentError(
            f"{path}, line {line}: this is no text in UTF-8; expected an experiment file: save it "
            "as UTF-8"
        ) from error
    return read_experiment(text, str(path))
