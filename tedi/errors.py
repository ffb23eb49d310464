"""The one exception that tedi raises on purpose; any other is a bug."""


class TediError(Exception):
    """A problem the caller can mend; the message names it, what came, and the knob.

    Doors (command line, web page) print it as one line; `exit_code` is 2 for a
    wrong call and 1 for anything that went wrong while doing it.
    """

    exit_code = 1


class UsageError(TediError):
    """A value that cannot be right whatever the state of the machine."""

    exit_code = 2


class FaceError(TediError):
    """A photo shows no face that can be worked with.

    Attributes:
        option: of the command line, which may help.
        advice: what it is good for; told by commands that have it.
    """

    def __init__(self, message: str, *, option: str, advice: str) -> None:
        super().__init__(message)
        self.option, self.advice = option, advice
