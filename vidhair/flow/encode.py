"""The last stage: takes the frames in order and writes the video.

It keeps nothing. A killed run begins its file anew, from the composed frames that are kept, because
an encoder's choices in later frames rest on its earlier ones and its state cannot be stored.
"""

import time
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vidhair.flow.graph import CUT_OUT, Flow
from vidhair.flow.node import Node
from vidhair.flow.overlap import Behind
from vidhair.flow.runner import Means, Work
from vidhair.media import PictureWriter, VideoWriter
from vidhair.settings import identity
from vidhair.stages.encode import EncodeConfig
from vidhair.wiring import Arrays

WAITING = 1  # chunks of frames that wait for the encoder


class Encoding:
    """Gives a writer what a flow makes; a file appears when the `with` block ends well.

    seconds: what the encoder has taken. notes: the writer's.
    """

    def __init__(
        self,
        writer: VideoWriter | PictureWriter,
        config: EncodeConfig,
        flow: Flow,
        means: Means,
        quarters: int = 0,
    ):
        """quarters: of a circle, by which what is made is turned back to the right."""
        self._writer, self._quarters = writer, quarters
        self._flow, self._means = flow, means
        self._resources = ExitStack()
        self._behind: Behind | None = None
        self._begun = False
        self.seconds = 0.0
        self.node = Node(
            "encode",
            1,
            self._take,
            identity(config),
            (flow.goal,),
            source=True,
            chunk=0,
            kept=False,
            sink=True,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        return self._writer.notes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        began = time.perf_counter()
        self._resources.__exit__(*error)
        self.seconds += time.perf_counter() - began

    def _take(self, work: Work, start: int, stop: int) -> Arrays:
        pixels, alpha = self._flow.pictures(work, start, stop)
        if self._quarters:
            pixels = np.rot90(pixels, -self._quarters, (1, 2))
            alpha = None if alpha is None else np.rot90(alpha, -self._quarters, (1, 2))
        if not self._begun:
            self._begun = True
            if isinstance(self._writer, VideoWriter):
                self._writer = self._writer.sized(pixels.shape[2], pixels.shape[1])
            self._resources.enter_context(self._writer)
            if self._means.executor == "overlapped":
                self._behind = self._resources.enter_context(Behind("encode", WAITING))
        if alpha is not None and not self._writer.alpha:
            if self._flow.goal == CUT_OUT:
                pixels = np.repeat(alpha[..., None], 3, -1)
            alpha = None
        if self._behind is None:
            self._write(pixels, alpha)
        else:
            self._behind(self._write, pixels, alpha)
        return {}

    def _write(self, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> None:
        began = time.perf_counter()
        self._writer.write(pixels, alpha)
        self.seconds += time.perf_counter() - began
