"""Official weights into our modules: every tensor is used, and every parameter is given."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from vidhair.checkpoints.names import rename
from vidhair.errors import WeightsDoNotFit

# What a file may lack: a counter of training, unknown to files from before torch 0.4.1.
MAY_BE_ABSENT = (r"(.+\.)?num_batches_tracked",)
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class NameMap:
    """table: (official pattern, our name). unused: official patterns that no output depends on."""

    table: tuple[tuple[str, str], ...]
    unused: tuple[str, ...] = ()


def under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}


def load_official(module: nn.Module, weights: Mapping[str, Tensor], names: NameMap) -> None:
    """Copy official weights into a module; raises WeightsDoNotFit unless all of both sides fit."""
    used = [n for n in weights if not _covered(n, names.unused)]
    renamed = rename(used, names.table)
    own = module.state_dict()
    given = {ours: weights[theirs] for theirs, ours in renamed.items()}
    assert len(given) == len(renamed), "the name map gives two official names one name of ours"
    strange = [n for n in used if n not in renamed]
    strange += [theirs for theirs, ours in renamed.items() if ours not in own]
    missing = [n for n in own if n not in given and not _covered(n, MAY_BE_ABSENT)]
    misshapen = [
        f"{n} {tuple(given[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in given and given[n].shape != own[n].shape
    ]
    problems = {"unknown": strange, "missing": missing, "of another shape": misshapen}
    found = [f"{what}: {_listed(which)}" for what, which in problems.items() if which]
    if found:
        raise WeightsDoNotFit(
            f"the weights do not fit a {type(module).__name__} ({'; '.join(found)}); "
            "choose a file for this network and configuration"
        )
    module.load_state_dict(own | given, strict=True)


def _covered(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
