"""What a pickle gave, as plain data: dictionaries, lists, numbers, text, tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.allowed import Array, Module, Options
from vidhair.checkpoints.limits import (
    MAX_DEPTH,
    MAX_NAME,
    MAX_VALUES,
    Budget,
    Refused,
    shown,
)
from vidhair.checkpoints.pickles import checked_key
from vidhair.checkpoints.storages import View

SCALARS = (str, int, float, bool, type(None), torch.dtype)


@dataclass(frozen=True)
class Made:
    """By which class, and with which arguments, a network of a file was made."""

    class_name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None


class Plain:
    """Turns values into plain data. What the file shares stays shared."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.made: dict[int, Made] = {}  # by the identity of a network's dictionary
        # identity → (value, to keep it alive; plain data; number of values in it)
        self.known: dict[int, tuple[Any, Any, int]] = {}
        self.open: set[int] = set()

    def convert(self, value: Any) -> Any:
        """Raises Refused if the data are no tree, too deep, too many, or of an unknown kind."""
        return self.counted(value, 0)[0]

    def counted(self, value: Any, depth: int) -> tuple[Any, int]:
        if type(value) in SCALARS:
            return value, 1
        if id(value) in self.known:
            return self.known[id(value)][1:]
        if id(value) in self.open:
            raise Refused("holds a value that contains itself")
        if depth > MAX_DEPTH:
            raise Refused(f"nests its values more than {MAX_DEPTH} deep")
        self.open.add(id(value))
        plain, count = self.composite(value, depth)
        self.open.discard(id(value))
        if count > MAX_VALUES:
            raise Refused(f"holds more than {MAX_VALUES} values")
        self.known[id(value)] = value, plain, count
        return plain, count

    def composite(self, value: Any, depth: int) -> tuple[Any, int]:
        if isinstance(value, View):
            return value.tensor(self.budget), 1
        if isinstance(value, Array):
            if value.made is None:
                raise Refused("declares an array that it does not hold")
            return value.made, 1
        if isinstance(value, (bytes, memoryview)):
            self.budget.take_copied(len(value))
            return bytes(value), 1
        if isinstance(value, Options):
            value = value.values
        if isinstance(value, dict):
            pairs = {checked_key(k): self.counted(v, depth + 1) for k, v in value.items()}
            return {k: v for k, (v, _) in pairs.items()}, 1 + sum(n for _, n in pairs.values())
        if type(value) in (list, tuple):
            parts = [self.counted(v, depth + 1) for v in value]
            return type(value)(v for v, _ in parts), 1 + sum(n for _, n in parts)
        if type(value) in (set, frozenset):  # of scalars only
            return set(value), 1 + len(value)
        if isinstance(value, Module):
            return self.network(value, depth)
        raise Refused(f"holds {shown(value)} where plain values belong")

    def network(self, module: Module, depth: int) -> tuple[dict[str, Tensor], int]:
        tensors: dict[str, Tensor] = {}
        self.collect(module, "", depth, tensors)
        args, args_count = self.counted(module.state.get("_init_args", ()), depth + 1)
        kwargs, kwargs_count = self.counted(module.state.get("_init_kwargs", {}), depth + 1)
        if type(args) not in (tuple, list) or type(kwargs) is not dict:
            raise Refused("holds a network with constructor arguments of an unknown form")
        self.made[id(tensors)] = Made(module.class_name, tuple(args), kwargs)
        return tensors, 1 + len(tensors) + args_count + kwargs_count

    def collect(self, module: Module, prefix: str, depth: int, tensors: dict[str, Tensor]) -> None:
        """Every parameter and buffer under its dotted path."""
        if depth > MAX_DEPTH:
            raise Refused(f"nests its networks more than {MAX_DEPTH} deep")
        self.budget.take_steps(1)
        for table in ("_parameters", "_buffers", "_modules"):
            entries = module.state.get(table, {})
            if not isinstance(entries, dict):
                raise Refused(f"holds a network whose {table} are no table")
            for key, value in entries.items():
                self.budget.take_steps(1)
                if type(key) is not str or not key or "." in key:
                    raise Refused(f"names a part of a network {shown(key)!r}")
                name = prefix + key
                if len(name) > MAX_NAME:
                    raise Refused(f"names a part of a network with over {MAX_NAME} characters")
                if value is None:
                    continue
                if table == "_modules":
                    if not isinstance(value, Module):
                        raise Refused(f"holds {shown(value)} as the network {shown(name)}")
                    self.collect(value, name + ".", depth + 1, tensors)
                elif not isinstance(value, View):
                    raise Refused(f"holds {shown(value)} as the tensor {shown(name)}")
                elif name in tensors:
                    raise Refused(f"holds the tensor {shown(name)} twice")
                else:
                    self.budget.take_copied(len(name))
                    tensors[name] = value.tensor(self.budget)
