"""``python -m abserve.cli``: how a cluster in the background is started."""

from abserve.cli import main

main()
