"""What a foreign file may ask for at most, and how it is refused."""

MAX_STEPS = 1_000_000  # of a pickle program; a StyleGAN pickle takes about 10⁵
MAX_COPIED = 64 << 20  # bytes of text and small values; weights are not copied
MAX_VALUES = 1_000_000  # in the whole tree, a shared value counted wherever it appears
MAX_DEPTH = 100
MAX_NAME = 400  # characters
REMEDY = "download it again, or ask its author for the tensors alone as safetensors"


class Refused(Exception):
    """Why a file is not read. The reader's entry adds the name of the file."""

    def __init__(self, reason: str, remedy: str = REMEDY) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def shown(value: object) -> str:
    """A value out of a foreign file, made fit for one line of a message."""
    if isinstance(value, str):
        text = repr(value[:60])[1:-1]
    elif value is None or type(value) in (int, float, bool):
        text = str(value)
    else:
        text = f"a {type(value).__name__.lower()}"
    return text if len(text) <= 60 else text[:59] + "…"


class Budget:
    """What a file has left of its allowance. One per file, shared by all that is nested in it."""

    def __init__(self, file_size: int) -> None:
        self.steps = MAX_STEPS
        self.copied = MAX_COPIED
        # Views may share a storage, so that a small file can declare more than it holds.
        self.tensor_bytes = 4 * file_size + (1 << 20)

    def take_steps(self, count: int) -> None:
        self.steps -= count
        if self.steps < 0:
            raise Refused(f"takes more than {MAX_STEPS} steps to read")

    def take_copied(self, count: int) -> None:
        self.copied -= count
        if self.copied < 0:
            raise Refused(f"holds more than {MAX_COPIED >> 20} MiB beside its weights")

    def take_tensor(self, count: int) -> None:
        self.tensor_bytes -= count
        if self.tensor_bytes < 0:
            raise Refused("declares tensors of many times its own size")
