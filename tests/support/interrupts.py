"""Ctrl+C in processes that a background job starts."""

import signal


def restore_interrupt() -> None:
    """Let SIGINT interrupt this process and those it starts, as in a terminal's foreground.

    A shell without job control starts background jobs with SIGINT ignored, and a process hands
    that down to all it starts. Once Python's own handler stands here, a new program starts with
    the system's default. A handler that somebody else has set is left alone.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
