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
    """table: (official pattern, our name). unused: official patterns that no output depends on.

    absent: patterns of our names that the file lacks by design; those tensors keep their values.
    """

    table: tuple[tuple[str, str], ...]
    unused: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def leaves_out(self, name: str) -> bool:
        """Whether an official name is known and not used."""
        return _covered(name, self.unused)

    def within(self, theirs: str, ours: str) -> "NameMap":
        """The same names with a prefix each, as part of a larger network."""
        before = re.escape(theirs)
        return NameMap(
            tuple((before + pattern, ours + name) for pattern, name in self.table),
            tuple(before + pattern for pattern in self.unused),
            tuple(re.escape(ours) + pattern for pattern in self.absent),
        )


def under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}


def load_official(module: nn.Module, weights: Mapping[str, Tensor], names: NameMap) -> None:
    """Give a module official weights; raises WeightsDoNotFit unless all of both sides fit.

    Tensors of the module's precision are shared with it, not copied.
    """
    own = module.state_dict()
    given = official_state(module, weights, names)
    fitting = {name: tensor.to(own[name]) for name, tensor in given.items()}
    module.load_state_dict(own | fitting, assign=True)


def official_state(
    module: nn.Module, weights: Mapping[str, Tensor], names: NameMap
) -> dict[str, Tensor]:
    """The weights under our names and in our shapes, without what is absent by design.

    Only names, shapes and types of the module count, so it may lie on the meta device. A shape may
    differ in dimensions of one: official biases are [1, C, 1, 1] in places; a type in its
    precision. Raises WeightsDoNotFit.
    """
    used = [n for n in weights if not names.leaves_out(n)]
    renamed = rename(used, names.table)
    own = module.state_dict()
    given = {ours: weights[theirs] for theirs, ours in renamed.items()}
    assert len(given) == len(renamed), "the name map gives two official names one name of ours"
    strange = [n for n in used if n not in renamed]
    strange += [theirs for theirs, ours in renamed.items() if ours not in own]
    may_be_absent = MAY_BE_ABSENT + names.absent
    missing = [n for n in own if n not in given and not _covered(n, may_be_absent)]
    misshapen = [
        f"{n} {tuple(given[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in given and _without_ones(given[n]) != _without_ones(own[n])
    ]
    other = [
        f"{n} {given[n].dtype} instead of {own[n].dtype}"
        for n in own
        if n in given and given[n].is_floating_point() != own[n].is_floating_point()
    ]
    problems = {
        "unknown": strange,
        "missing": missing,
        "of another shape": misshapen,
        "of another type": other,
    }
    found = [f"{what}: {_listed(which)}" for what, which in problems.items() if which]
    if found:
        raise WeightsDoNotFit(
            f"the weights do not fit a {type(module).__name__} ({'; '.join(found)}); "
            "choose a file for this network and configuration"
        )
    return {n: given[n].reshape(own[n].shape) for n in own if n in given}


def _without_ones(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _covered(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
