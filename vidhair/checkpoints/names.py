"""Official parameter names → ours, as data. Loading must leave nothing out on either side."""

import re
from collections.abc import Iterable


def rename(names: Iterable[str], table: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Official → ours for every name that a pattern of the table covers whole."""
    found = {}
    for name in names:
        for pattern, ours in table:
            match = re.fullmatch(pattern, name)
            if match:
                found[name] = match.expand(ours)
                break
    return found
