"""The command line of a command: what is mistyped is named, with what may have been meant."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` whose errors name a flag that there is not before anything else.

    Without it a mistyped `--scale` ends in the message that one of several flags is required.
    """

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class does; what is given is kept for `error`."""
        self._given = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with status 2 and a line that says what is wrong."""
        for argument in self._given:
            if argument == '--':  # only names follow
                break
            flag = argument.partition('=')[0]
            if flag.startswith('--') and not self._is_known(flag):
                near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
                hint = f'did you mean {near[0]}?' if near else '--help lists those that there are.'
                message = f'unrecognized arguments: {flag}; {hint}'
                break
        super().error(message)

    def _is_known(self, flag: str) -> bool:
        """Whether it is a flag or, where abbreviations are taken, the beginning of one."""
        flags = self._option_string_actions
        return flag in flags or (self.allow_abbrev and any(f.startswith(flag) for f in flags))
