"""Other people's implementations, imported by name to be timed beside ours."""

import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vidhair.errors import InvalidSetting


@dataclass(frozen=True)
class Baseline:
    """A function by its name MODULE:FUNCTION; see the package for what it is called with."""

    name: str
    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Raises InvalidSetting if the function fails or returns no tensor."""
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise InvalidSetting(
                f"--vs {self.name} failed ({type(error).__name__}: {reason}); "
                "`vidhair bench --help` says what it is called with"
            ) from error
        if not isinstance(result, Tensor):
            raise InvalidSetting(
                f"--vs {self.name} returned {type(result).__name__}; it must return a tensor"
            )
        return result


def find_baseline(name: str) -> Baseline:
    """Import MODULE:FUNCTION, from the present folder if it is nowhere else.

    Raises InvalidSetting.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise InvalidSetting(f"--vs {name!r} must be MODULE:FUNCTION, such as others.ops:upfirdn2d")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = pkgutil.resolve_name(name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise InvalidSetting(
            f"--vs {name} cannot be imported ({type(error).__name__}: {error}); "
            "name a function of a module that Python finds from this folder"
        ) from error
    if not callable(found):
        raise InvalidSetting(f"--vs {name} is a {type(found).__name__}; name a function")
    return Baseline(name, found)
