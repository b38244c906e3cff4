"""What a command says while it works: a spinner where a person looks on, plain lines elsewhere.

::

                      stderr is a terminal        it is not
    say(step)         a line                      a line
    wait_for(reason)  beside the spinner          a line, if it is another than before
    show(detail)      beside the spinner          nothing

Lines that are no answer go to stderr where the answer is JSON, so that stdout holds that alone.
"""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Progress of one command, for as long as the block lasts.

    Parameters
    ----------
    what : str
        What the command waits for, until `wait_for` says more.
    to_stderr : bool
        Whether lines go to stderr, because stdout is for machines.
    """

    def __init__(self, what: str, *, to_stderr: bool) -> None:
        self._what = what
        self._to_stderr = to_stderr
        self._spinner: Status | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.text import Text

            self._spinner = Console(stderr=True).status(Text(self._what))
            self._spinner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def say(self, line: str) -> None:
        """Tell what was done, or is begun."""
        if self._spinner is None:
            click.echo(line, err=self._to_stderr)
        else:
            # While it turns it would take the line for its own, and write it to stderr.
            self._spinner.stop()
            click.echo(line, err=self._to_stderr)
            self._spinner.start()

    def wait_for(self, reason: str) -> None:
        """Tell what is waited for now."""
        if self._spinner is not None:
            self.show(reason)
        elif reason != self._what:
            self._what = reason
            click.echo(reason, err=True)

    def show(self, detail: str) -> None:
        """Tell somebody who looks on how far it is."""
        if self._spinner is not None:
            from rich.text import Text

            self._spinner.update(Text(detail))
