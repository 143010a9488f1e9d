"""Prints what is installed beside this interpreter as constraints for pip: `make constraints`.

Local labels (`+cpu`) are left out, so that the file holds wherever the releases are published.
"""

import importlib.metadata

from packaging.utils import canonicalize_name
from packaging.version import Version

OWN = {"vidhair", "pip"}


def pins() -> list[str]:
    """`name==version` of every distribution, by name."""
    found = {
        canonicalize_name(d.metadata["Name"]): Version(d.version).public
        for d in importlib.metadata.distributions()
    }
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name not in OWN]


if __name__ == "__main__":
    print("# Made by `make constraints`, after the whole suite passed with these releases.")
    print(*pins(), sep="\n")
