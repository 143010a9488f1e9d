"""Pickles, read by a machine of our own that imports no name and calls nothing of the file's.

The language's own unpickler is not used: even with every name refused it follows memo numbers
and lengths of the file into gigabytes of memory. Here each step is counted, each length is
checked against the bytes that are left, and large byte strings stay views of the file. Names
become entries of a table given by the caller; the only functions that run are those of the table.

Left out on purpose, since neither Python 3 nor torch writes them: the text protocols 0 and 1,
INST, OBJ, the extension registry, NEWOBJ_EX, DUP, out-of-band buffers.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vidhair.checkpoints.limits import Budget, Refused, shown

MAX_MARKS = 1000
MAX_LINE = 512
MAX_INT_BYTES = 64
VIEW_FROM = 256  # bytes; shorter byte strings are copied


@dataclass(frozen=True, eq=False)
class Name:
    """Stands for a class or function that a pickle names; `make` builds its inert likeness."""

    label: str
    make: Callable[[tuple[Any, ...]], Any] | None = None


class Inert:
    """Stands for an object of a pickle. A subclass says what state it takes."""

    def build(self, state: Any) -> None:
        raise Refused(f"gives a state to a {type(self).__name__.lower()}, which has none")


class Items(dict[Any, Any], Inert):
    """A dictionary of a class of its own (OrderedDict, EasyDict); attributes are dropped."""

    def build(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused("gives a dictionary a state that is not a table")


class Machine:
    """One pickle program. `data` may go on after its end."""

    def __init__(
        self,
        data: memoryview,
        start: int,
        names: Mapping[str, Any],
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.data = data
        self.at = start
        self.names = names
        self.budget = budget
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> tuple[Any, int]:
        """The value of the program, and where in `data` it ended. Raises Refused."""
        if self.number("<H") & 0xFF != 0x80 or not 2 <= self.data[self.at - 1] <= 5:
            raise Refused("holds no pickle of protocol 2 to 5")
        data, budget, steps = self.data, self.budget, STEPS
        while True:
            budget.take_steps(1)
            if self.at >= len(data):
                raise Refused("ends in the middle of its pickle")
            code = data[self.at]
            self.at += 1
            if code == STOP:
                break
            step = steps.get(code)
            if step is None:
                raise Refused(f"uses the pickle instruction 0x{code:02x}, which no weights need")
            step(self)
        value = self.pop()
        if self.stack or self.marks:
            raise Refused("leaves values over in its pickle")
        return value, self.at

    # Bytes of the file.

    def take(self, count: int) -> memoryview:
        if count < 0 or count > len(self.data) - self.at:
            raise Refused("ends in the middle of its pickle")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> int:
        result: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return result

    def line(self) -> str:
        text = bytes(self.data[self.at : self.at + MAX_LINE])
        end = text.find(b"\n")
        if end < 0:
            raise Refused("names something whose name does not end")
        self.at += end + 1
        return decoded(text[:end])

    def text(self, form: str, encoding: str = "utf-8") -> None:
        data = self.take(self.number(form))
        self.budget.take_copied(len(data))
        self.push(decoded(data, encoding))

    def bytes(self, form: str) -> None:
        data = self.take(self.number(form))
        self.push(bytes(data) if len(data) < VIEW_FROM else data)

    def integer(self, form: str) -> None:
        count = self.number(form)
        if count > MAX_INT_BYTES:
            raise Refused(f"holds a whole number of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def frame(self) -> None:
        if self.number("<Q") > len(self.data) - self.at:
            raise Refused("ends in the middle of its pickle")

    # The stack.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise Refused("takes a value that its pickle never made")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise Refused("takes a value that its pickle never made")
        return self.stack[-1]

    def drop(self, value: Any) -> None:
        """The value is not needed any more."""

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise Refused(f"nests its pickle more than {MAX_MARKS} deep")
        self.marks.append(self.stack)
        self.stack = []

    def unmark(self) -> list[Any]:
        if not self.marks:
            raise Refused("closes a group that its pickle never opened")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def put(self, number: int) -> None:
        self.memo[number] = self.top()

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise Refused("recalls a value that its pickle never kept")
        self.push(self.memo[number])

    def tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise Refused("takes a value that its pickle never made")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    # Containers.

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise Refused(f"appends to {shown(target)}")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise Refused(f"sets an item of {shown(target)}")
        if len(items) % 2:
            raise Refused("has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def empty_set(self) -> None:
        self.budget.take_steps(3)  # it takes four times the memory of a list
        self.push(set())

    def add(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not set:
            raise Refused(f"adds to {shown(target)} as if to a set")
        target.update(checked_key(item) for item in items)

    # Names and objects.

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("names something by a value that is no text")
        self.budget.take_copied(len(module) + len(name))
        label = f"{module}.{name}"
        if label in self.names:
            self.push(self.names[label])
        elif module.startswith("dnnlib.tflib"):
            raise Refused(
                "holds TensorFlow networks of the first StyleGANs",
                "convert it with legacy.py of NVIDIA's StyleGAN3, or get a release for PyTorch",
            )
        else:
            raise Refused(
                f"asks for {shown(label)}, which no weights need",
                "it may be meant to run code, so get the tensors alone, as safetensors",
            )

    def global_name(self) -> None:
        self.name(self.line(), self.line())

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def call(self) -> None:
        arguments, target = self.pop(), self.pop()
        if type(target) is not Name or target.make is None:
            label = target.label if type(target) is Name else shown(target)
            raise Refused(f"calls {label}, which is not a thing to call")
        if type(arguments) is not tuple:
            raise Refused(f"calls {target.label} without a tuple of arguments")
        # A container that is kept once can be copied at every call.
        self.budget.take_steps(sum(len(a) for a in arguments if isinstance(a, CONTAINERS)))
        self.push(target.make(arguments))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(target, Inert):
            raise Refused(f"gives a state to {shown(target)}")
        self.budget.take_steps(len(state) if isinstance(state, CONTAINERS) else 0)
        target.build(state)

    def identify(self) -> None:
        if self.persistent is None:
            raise Refused("refers to values outside its pickle")
        self.push(self.persistent(self.pop()))


CONTAINERS = (list, tuple, dict, set)
KEYS = (str, int, float, bool, bytes, type(None))


def checked_key(key: Any) -> Any:
    """The key, if it is a scalar: the hash of a nested tuple can take forever. Raises Refused."""
    if type(key) not in KEYS:
        raise Refused(f"uses {shown(key)} as a key")
    return key


def decoded(data: bytes | memoryview, encoding: str = "utf-8") -> str:
    try:
        # Python writes lone surrogates, as in file names that are no text.
        return str(data, encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise Refused("holds text that is not UTF-8") from error


STOP = ord(".")
STEPS: dict[int, Callable[[Machine], None]] = {
    0x95: Machine.frame,
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: lambda m: m.integer("<B"),
    0x8B: lambda m: m.integer("<i"),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("U"): lambda m: m.text("<B", "latin-1"),  # str of Python 2
    ord("T"): lambda m: m.text("<i", "latin-1"),
    0x8C: lambda m: m.text("<B"),
    ord("X"): lambda m: m.text("<I"),
    0x8D: lambda m: m.text("<Q"),
    ord("C"): lambda m: m.bytes("<B"),
    ord("B"): lambda m: m.bytes("<I"),
    0x8E: lambda m: m.bytes("<Q"),
    0x96: lambda m: m.bytes("<Q"),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    0x8F: Machine.empty_set,
    0x91: lambda m: m.push(frozenset(checked_key(item) for item in m.unmark())),
    ord("l"): lambda m: m.push(m.unmark()),
    ord("t"): lambda m: m.push(tuple(m.unmark())),
    0x85: lambda m: m.tuple(1),
    0x86: lambda m: m.tuple(2),
    0x87: lambda m: m.tuple(3),
    ord("a"): lambda m: m.extend([m.pop()]),
    ord("e"): lambda m: m.extend(m.unmark()),
    ord("s"): lambda m: m.update([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.update(m.unmark()),
    0x90: lambda m: m.add(m.unmark()),
    ord("("): Machine.mark,
    ord("0"): lambda m: m.drop(m.pop()),
    ord("1"): lambda m: m.drop(m.unmark()),
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    0x94: lambda m: m.put(len(m.memo)),
    ord("h"): lambda m: m.get(m.number("<B")),
    ord("j"): lambda m: m.get(m.number("<I")),
    ord("c"): Machine.global_name,
    0x93: Machine.stack_name,
    ord("R"): Machine.call,
    0x81: Machine.call,
    ord("b"): Machine.build,
    ord("Q"): Machine.identify,
}
