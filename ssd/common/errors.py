"""The exception for mistakes that the user can fix, and errors in one line."""


class UserError(ValueError):
    """A mistake in the user's input: a setting, a path, a file.

    The message is one line that says what is wrong, where, what was found, and what to do.
    The tools print it without a traceback and exit with status 2. Any other exception is a bug in
    this project and keeps its traceback.
    """


def one_line(error: BaseException) -> str:
    """The text of an error without line breaks, or its type if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
