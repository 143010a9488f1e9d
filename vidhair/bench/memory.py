"""How much memory a call needs at its worst."""

from dataclasses import dataclass
from pathlib import Path

import torch

from vidhair.process import give_back_memory

PROCESS = Path("/proc/self")
RESET_PEAK = "5"  # see proc(5), clear_refs


@dataclass(frozen=True)
class Peak:
    """Bytes: the high-water mark, and how far it lies above what was in use before."""

    total: int
    above: int


class PeakMemory:
    """Of the process's resident set, or of what torch has allocated on a GPU.

    process: where Linux shows the process; elsewhere nothing is measured.
    """

    def __init__(self, device: str = "cpu", process: Path = PROCESS):
        self.device, self.process = device, process
        self._before: int | None = None

    def start(self) -> None:
        """Forget the high-water mark so far.

        Freed memory that the allocator keeps for later is handed back first, so that what the call
        takes of it counts; the call has to fetch it again, and is a little slower for it.
        """
        if self.device != "cpu":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return
        give_back_memory()
        try:
            (self.process / "clear_refs").write_text(RESET_PEAK)
        except OSError:
            self._before = None
        else:
            self._before = self._status("VmHWM")

    def stop(self) -> Peak | None:
        """The high-water mark since `start`; None where the system does not tell."""
        if self._before is None:
            return None
        if self.device != "cpu":
            highest = torch.cuda.max_memory_allocated(self.device)
        else:
            highest = self._status("VmHWM") or self._before
        return Peak(highest, max(0, highest - self._before))

    def _status(self, field: str) -> int | None:
        for line in (self.process / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        return None
