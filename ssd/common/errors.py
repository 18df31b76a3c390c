"""The one exception that stands for a mistake its reader can mend, and errors in one line."""


class UserError(ValueError):
    """A mistake in what the user gave: a setting, a path, a file.

    The message is one line that says what is wrong, where, what was found, and what to do.
    The tools print it without a traceback and exit with status 2; any other exception is a
    defect of ours and keeps its traceback.
    """


def one_line(error: BaseException) -> str:
    """An error's text without line breaks; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
