"""Small real processes."""

import sys

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]

# Says "deaf" once it hears SIGTERM no more.
DEAF = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)",
]

# As DEAF, with a child of its own, whose number it says.
DEAF_PARENT = [
    sys.executable,
    "-S",
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); time.sleep(60)",
]


def saying(text: str, code: int = 0) -> list[str]:
    """Return a command that prints `text` and exits with `code`."""
    return [sys.executable, "-S", "-c", f"import sys; print({text!r}); sys.exit({code})"]
