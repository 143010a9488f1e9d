"""Every error a caller may catch. Each message gives the value and the remedy in one sentence.

`exit_code` is what the command line ends with when the error reaches it; codes are distinct so
that scripts can tell the causes apart. 1 is left to Python, 2 to argparse.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class VidhairError(Exception):
    """Base of all errors that a user's input or machine can cause."""

    exit_code = 3


class SourceNotFound(VidhairError):
    """The named source file does not exist or cannot be opened for reading."""

    exit_code = 10


class NotAVideo(VidhairError):
    """The source exists but holds no decodable video stream."""

    exit_code = 11


class NoFrames(VidhairError):
    """The source has a video stream without a single frame."""

    exit_code = 12


class NoFaceFound(VidhairError):
    """No frame of the clip shows a face that the tracker finds, or none large enough to edit."""

    exit_code = 13


class UnknownRecipe(VidhairError):
    """No recipe has this name, and no recipe file lies at this path."""

    exit_code = 14


class InvalidSetting(VidhairError):
    """A recipe or an override names an unknown key or gives a value that is not allowed."""

    exit_code = 15


class PackNotFound(VidhairError):
    """No model pack lies under this name or path."""

    exit_code = 16


class PackDamaged(VidhairError):
    """A model pack is incomplete, altered, or not readable."""

    exit_code = 17


class OutputNotWritable(VidhairError):
    """The output cannot be created where it was asked for."""

    exit_code = 18


class DiskFull(VidhairError):
    """The disk ran out of room while writing."""

    exit_code = 19


class DeviceUnavailable(VidhairError):
    """The named device, or a kernel that was asked for by name, cannot be used here."""

    exit_code = 20


class CacheUnusable(VidhairError):
    """The cache folder cannot be created or read, or a value has no fingerprint."""

    exit_code = 21


class EncodingFailed(VidhairError):
    """The encoder refused the stream (codec not available, size not supported, …)."""

    exit_code = 22


class CheckpointUnreadable(VidhairError):
    """A foreign weight file is missing, damaged, of no known format, or more than plain data."""

    exit_code = 23


class WeightsDoNotFit(VidhairError):
    """Weights from elsewhere lack parameters of the network, or hold others than it has."""

    exit_code = 24


class DownloadFailed(VidhairError):
    """Weights cannot be fetched, or are not those that were published."""

    exit_code = 25


class ForkedTooLate(VidhairError):
    """A process was forked from one that had already computed, so it would wait for ever."""

    exit_code = 26


class MatteDoesNotFit(VidhairError):
    """A matte that is given has not as many pictures as the clip, or is not of its size."""

    exit_code = 27


@contextmanager
def os_errors(target: Path) -> Iterator[None]:
    """Name the target and the remedy when the system refuses to write."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room left in {target.parent} while writing {target.name}; "
                "free some space or write elsewhere"
            ) from error
        raise OutputNotWritable(
            f"{target} cannot be written ({error.strerror or error}); choose another place"
        ) from error
