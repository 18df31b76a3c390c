"""What the tools share: flags for every setting, and one line for every mistake of the user."""

from __future__ import annotations

import errno
import os
import re
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence

from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from ssd.config import Config
from ssd.errors import UserError, one_line
from ssd.settings import SECTIONS, Settings, read_config, suggestion

USER_MISTAKE = 2
INTERRUPTED = 130
NOBODY_READS = 141
NOT_OUR_FAULT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def settings_parser(prog: str, usage: str, description: str | None) -> ArgumentParser:
    """A parser with a flag `--section.key` for every setting."""
    parser = ArgumentParser(
        prog=prog,
        usage=usage,
        description=description,
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_class_arguments(Config)
    return parser


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Shows every flag's default, and descriptions with the line breaks they have."""


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The flags that were given; settings that were not are absent.

    Raises:
        UserError: a flag is unknown or its value is impossible.
    """
    try:
        return parser.parse_args(list(arguments), defaults=False)
    except ArgumentError as error:
        message = one_line(error)
        unknown = re.search(r"unrecognized arguments: --([\w.-]+)", message)
        hint = suggestion(unknown[1]) if unknown else ""
        raise UserError(message + hint) from error


def given_settings(flags: Namespace) -> Settings:
    """The settings among the flags that were given."""
    return {name: value for name, value in flags.as_dict().items() if name in SECTIONS}


def config_of(flags: Namespace, files: Sequence[str]) -> Config:
    """The Config of YAML files and of the flags, which win over the files."""
    return read_config(files, given_settings(flags))


def run(main: Callable[[Sequence[str]], int]) -> None:
    """Runs a tool and exits with its status.

    A mistake of the user, a full disk among them, ends in one line on stderr and status 2. Any
    other error is a defect and keeps its traceback.
    """
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        status = USER_MISTAKE
    except BrokenPipeError:  # whoever read the output, `head` perhaps, has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        status = NOBODY_READS
    except OSError as error:
        if error.errno not in NOT_OUR_FAULT:
            raise
        where = error.filename or "the output folder"
        print(
            f"error: cannot use {where}: {error.strerror}: mend that, or give another place",
            file=sys.stderr,
        )
        status = USER_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)
