"""Pictures drawn by replaying what a GPU was told once.

A synthesis is hundreds of launches, and asking for them takes longer than drawing: 12 ms against
4 ms for a picture of 1024² by StyleGAN3-T in float16 on an H200, and 71 ms against 27 ms with
gradients. Recorded once per shape, they are one launch.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from vidhair.models.generators.aligned import MovableSynthesis
from vidhair.models.generators.stylegan3 import Extent

MOST_GRAPHS = 2  # of a synthesis: each keeps the memory that it draws in
WARM_UPS = 2  # calls that compile kernels and choose algorithms


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    ws: Tensor
    transform: Tensor
    picture: Tensor

    def play(self, ws: Tensor, transform: Tensor) -> Tensor:
        self.ws.copy_(ws)
        self.transform.copy_(transform)
        self.graph.replay()
        return self.picture


class CudaGraph:
    """Calls a synthesis on a GPU, without gradients, as a graph; weights may change between calls.

    The picture that a call returns is overwritten by the next one of the same shape.
    """

    def __init__(self, synthesis: MovableSynthesis):
        self._synthesis = ref(synthesis)
        self._recorded: OrderedDict[tuple[Any, ...], _Recorded] = OrderedDict()

    def __call__(
        self,
        ws: Tensor,
        *,
        transform: Tensor,
        canvas: Extent,
        dtype: torch.dtype,
        memory: int | None = None,
    ) -> Tensor:
        """W+ [B, L, W] and transform [B, 3, 3] → image [B, 3, H, W], as the synthesis gives it."""
        synthesis = self._synthesis()
        assert synthesis is not None, "the synthesis is gone"
        # What follows from the weights is part of a graph, so changed weights need another one.
        weights = sum(p._version for p in synthesis.parameters())
        key = tuple(ws.shape), tuple(transform.shape), canvas, dtype, memory, weights
        recorded = self._recorded.pop(key, None)
        if recorded is None:
            while len(self._recorded) >= MOST_GRAPHS:
                self._recorded.popitem(last=False)
            recorded = _record(synthesis, ws, transform, canvas, dtype, memory)
        self._recorded[key] = recorded
        return recorded.play(ws, transform)


@torch.inference_mode(False)  # for calls in that mode and out of it
@torch.no_grad()
def _record(
    synthesis: MovableSynthesis,
    ws: Tensor,
    transform: Tensor,
    canvas: Extent,
    dtype: torch.dtype,
    memory: int | None,
) -> _Recorded:
    ws, transform = ws.clone(), transform.clone()

    def draw() -> Tensor:
        result: Tensor = synthesis(
            ws, transform=transform, canvas=canvas, dtype=dtype, memory=memory
        )
        return result

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(ws.device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                draw()
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            picture = draw()
    return _Recorded(graph, ws, transform, picture)


_replays: "WeakKeyDictionary[MovableSynthesis, CudaGraph]" = WeakKeyDictionary()


def cuda_graphed(synthesis: MovableSynthesis) -> MovableSynthesis | CudaGraph:
    """What to draw many pictures with: the synthesis itself, or, on a GPU, its replay."""
    if next(synthesis.parameters()).device.type != "cuda":
        return synthesis
    return _replays.setdefault(synthesis, CudaGraph(synthesis))


class _Bound(nn.Module):
    def __init__(self, synthesis: MovableSynthesis, canvas: Extent, dtype: torch.dtype):
        super().__init__()
        self.synthesis, self.canvas, self.dtype = synthesis, canvas, dtype

    def forward(self, ws: Tensor, transform: Tensor) -> Tensor:
        result: Tensor = self.synthesis(
            ws, transform=transform, canvas=self.canvas, dtype=self.dtype
        )
        return result


def with_gradients(
    synthesis: MovableSynthesis, ws: Tensor, transform: Tensor, canvas: Extent, dtype: torch.dtype
) -> Callable[[Tensor, Tensor], Tensor]:
    """(W+ [B, L, W], transform [B, 3, 3]) → image, for many steps of training with one shape.

    ws, transform: of the shape of all calls; ws asks for a gradient or not as they all do. On a GPU
    the picture that a call returns is overwritten by the next one.
    """
    bound = _Bound(synthesis, canvas, dtype)
    if ws.device.type != "cuda":
        return bound
    example = ws.detach().clone().requires_grad_(ws.requires_grad), transform.clone()
    with torch.cuda.device(ws.device):
        graphed = torch.cuda.make_graphed_callables(bound, example, allow_unused_input=True)
    return cast(_Bound, graphed)
