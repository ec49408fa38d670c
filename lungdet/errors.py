"""Errors that lungdet raises on purpose.

Every message says where (file, key or argument), what was found, why it
cannot be used, and what to do.

LungdetError
├── SeriesError       a scan that cannot be read or is not a chest CT
├── GeometryError     an affine, spacing or grid that cannot be used
├── AnnotationError   a table, outline or mask that contradicts itself
├── CheckpointError   weights that do not fit the model or the data
├── ConfigError       a config key, type or value that is wrong
└── DivergenceError   a training whose loss is not finite
"""

import errno

NO_SPACE = {
    getattr(errno, name, None) for name in ('ENOSPC', 'EDQUOT', 'EFBIG')
}
INTERRUPTED = 130  # exit code after Ctrl-C, as in shells
CLOSED = 141  # exit code after a closed pipe, as in shells
MAX_LINE = 2000  # characters of an error for people


class LungdetError(Exception):
    """Base of every error that lungdet raises on purpose."""


class SeriesError(LungdetError, ValueError):
    """A scan that cannot be read as a CT volume."""


class GeometryError(LungdetError, ValueError):
    """An affine, spacing, direction or grid that cannot be used."""


class AnnotationError(LungdetError, ValueError):
    """A table, outline or mask that cannot be used."""


class CheckpointError(LungdetError, ValueError):
    """Weights that do not fit the model or the data."""


class ConfigError(LungdetError, ValueError):
    """A config key, type or value that is wrong."""


class DivergenceError(LungdetError, FloatingPointError):
    """A training whose loss is not finite."""


def explain(error: LungdetError | OSError) -> str:
    """An error for people, in one line.

    The system's own errors name a number first; here the file comes first.
    What a file's name or header brought in cannot steer a terminal or fill
    it.
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        if error.errno in NO_SPACE:
            return printable(
                f'{error.filename}: {error.strerror.lower()}; nothing was '
                'written to it. Free some space, then run the same command '
                'again.'
            )
        return printable(
            f'{error.filename}: {error.strerror.lower()}; check the path and '
            'its permissions.'
        )
    line = printable(' '.join(str(error).split()))
    if len(line) > MAX_LINE:  # it quotes a field without end
        line = f'{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 3 :]}'
    return line


def printable(text: str) -> str:
    """Text that is safe to print and write, such as a name for tables.

    File names need not be UTF-8 and may contain line ends or terminal control
    sequences; such characters are shown by their codes.

    Examples:
        >>> printable('a b.csv'), printable('x\\n.csv')
        ('a b.csv', 'x\\\\n.csv')
    """
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode()
        for char in text
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, which gets an s unless there is one.

    Examples:
        >>> counted(1, 'slice'), counted(0, 'slice'), counted(1200, 'mark')
        ('1 slice', '0 slices', '1200 marks')
    """
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
