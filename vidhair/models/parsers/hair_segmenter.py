"""The network of MediaPipe's hair segmentation, and its weights from the published file.

Tkachenka et al. 2019, "Real-time Hair Segmentation and Recoloring on Mobile GPUs": an hourglass of
bottlenecks as in ENet (Paszke et al. 2016), which is also given the mask of the frame before.
Downsampling remembers where each maximum came from, and upsampling puts the values back there.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.cache import fingerprint
from vidhair.checkpoints.download import weights_folder
from vidhair.checkpoints.known import find_weights
from vidhair.checkpoints.tflite import Graph, read_graph
from vidhair.checkpoints.third_party import check_tensors, shown_path
from vidhair.errors import CheckpointUnreadable

PUBLISHED = "mediapipe-hair"  # in the catalogue
SIDE = 512  # that it was trained on
STRIDE = 32  # sides of its pictures are multiples of it
# Of the steps, sizes and connections that the published file has, and that `HairSegmenter` takes.
TOPOLOGY = "4aeb49baff139cab65c2add8443b2c435e22dc838f24714e81feb6a1db59846d"


def conv(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Keeps the size."""
    reach = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, padding=reach, dilation=dilation)


def depthwise(width: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)


def downsampling(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 2, stride=2)


def separable(width: int) -> list[nn.Module]:
    """Two depthwise filters with a mixture between them."""
    act = nn.PReLU
    return [depthwise(width), conv(width, width), act(width), depthwise(width), act(width)]


def dilated(width: int, dilation: int = 1) -> list[nn.Module]:
    return [conv(width, width, 3, dilation), nn.PReLU(width)]


def wide(width: int) -> list[nn.Module]:
    return [depthwise(width, 5), conv(width, width), nn.PReLU(width)]


class Bottleneck(nn.Module):
    """x + what a narrow branch makes of it. middle: layers of that branch.

    The order in which parts are made is that of the published weights, here and below.
    """

    def __init__(self, width: int, inner: int, middle: list[nn.Module]):
        super().__init__()
        self.branch = nn.Sequential(
            conv(width, inner), nn.PReLU(inner), *middle, conv(inner, width)
        )
        self.act = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.branch(x) + x)
        return y


class Downsampling(nn.Module):
    """[B, C, H, W] → [B, C′, H/2, W/2], and where the maxima of its 2 × 2 pixels were."""

    def __init__(self, inputs: int, outputs: int, inner: int):
        super().__init__()
        self.branch = nn.Sequential(
            downsampling(inputs, inner), nn.PReLU(inner), *separable(inner), conv(inner, outputs)
        )
        self.project = conv(inputs, outputs) if inputs != outputs else nn.Identity()
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        largest, places = F.max_pool2d(x, 2, return_indices=True)
        return self.act(self.branch(x) + self.project(largest)), places


class Upsampling(nn.Module):
    """The way back: [B, C, H, W] → [B, C′, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, inner: int):
        super().__init__()
        self.reduce = nn.Sequential(conv(inputs, inner), nn.PReLU(inner))
        self.enlarge = nn.Sequential(nn.ConvTranspose2d(inner, inner, 3, stride=2), nn.PReLU(inner))
        self.project = conv(inputs, outputs)
        self.expand = conv(inner, outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        # The last row and column of the transposed convolution reach beyond twice the size.
        branch = self.expand(self.enlarge(self.reduce(x))[:, :, :-1, :-1])
        y: Tensor = self.act(branch + F.max_unpool2d(self.project(x), places, [2, 2]))
        return y


class Merge(nn.Module):
    """Two tensors of the same size, side by side, into one."""

    def __init__(self, inputs: int, outputs: int, inner: int):
        super().__init__()
        self.branch = nn.Sequential(
            conv(inputs, inner), nn.PReLU(inner), *dilated(inner), conv(inner, outputs)
        )
        self.project = conv(inputs, outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        both = torch.cat([x, skipped], 1)
        y: Tensor = self.act(self.branch(both) + self.project(both))
        return y


class HairSegmenter(nn.Module):
    """Pictures and the masks before them → probability of hair."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            downsampling(4, 8), nn.PReLU(8), downsampling(8, 32), nn.PReLU(32)
        )
        self.down1 = Downsampling(32, 64, 16)
        self.stage1 = nn.Sequential(*(Bottleneck(64, 16, separable(16)) for _ in range(2)))
        self.down2 = Downsampling(64, 128, 32)
        self.stage2 = nn.Sequential(*(Bottleneck(128, 16, separable(16)) for _ in range(4)))
        self.down3 = Downsampling(128, 128, 16)
        middles = [
            separable(8), dilated(8, 2), wide(8), dilated(8, 4), separable(8), dilated(8, 8),
            separable(8), dilated(8, 2), wide(8), dilated(8, 4), separable(8), dilated(8, 8),
        ]  # fmt: skip
        self.stage3 = nn.Sequential(
            *(Bottleneck(128, 8, middle) for middle in middles), Bottleneck(128, 4, dilated(4))
        )
        self.up3 = Upsampling(128, 128, 8)
        self.merge2 = Merge(256, 128, 8)
        self.up2 = Upsampling(128, 64, 8)
        self.merge1 = Merge(128, 64, 4)
        self.up1 = Upsampling(64, 32, 4)
        self.last = Bottleneck(32, 4, dilated(4))
        self.head = nn.Sequential(
            nn.ConvTranspose2d(32, 8, 2, stride=2),
            nn.PReLU(8),
            nn.ConvTranspose2d(8, 2, 2, stride=2),
        )

    def logits(self, picture: Tensor, before: Tensor) -> Tensor:
        """Of background and hair, [B, 2, H, W]; the arguments are those of `forward`."""
        x = self.stem(torch.cat([picture, before], 1))
        first, places1 = self.down1(x)
        second, places2 = self.down2(self.stage1(first))
        x, places3 = self.down3(self.stage2(second))
        x = self.merge2(self.up3(self.stage3(x), places3), second)
        x = self.merge1(self.up2(x, places2), first)
        y: Tensor = self.head(self.last(self.up1(x, places1)))
        return y

    def forward(self, picture: Tensor, before: Tensor) -> Tensor:
        """picture: [B, 3, H, W] RGB in 0 … 1. before: [B, 1, H, W], the probability of hair in the
        frame before; zeros if there is none. H and W are multiples of STRIDE. → [B, 1, H, W]."""
        return self.logits(picture, before).softmax(1)[:, 1:]


def read_hair_segmenter(path: Path) -> HairSegmenter:
    """The network with the weights of MediaPipe's hair_segmentation.tflite.

    Raises CheckpointUnreadable for a file that is none, or that holds another network.
    """
    graph = read_graph(path)
    if topology(graph) != TOPOLOGY:
        raise CheckpointUnreadable(
            f"{shown_path(path)} holds another network than MediaPipe's hair segmentation; fetch "
            "that with `vidhair models pull mediapipe-hair`"
        )
    network = HairSegmenter()
    names = [name for name, _ in network.named_parameters()]
    tensors = dict(zip(names, _weights(graph), strict=True))
    network.load_state_dict(check_tensors(path, tensors), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def topology(graph: Graph) -> str:
    """sha256 over all that a graph is but its weights."""
    steps = [(s.operator, s.inputs, s.outputs, sorted(s.options.items())) for s in graph.steps]
    constants = sorted(graph.constants)
    whole = (graph.shapes, constants, steps, graph.inputs, graph.outputs)
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _weights(graph: Graph) -> Iterator[Tensor]:
    """In the order of use, laid out as torch has them."""
    for step in graph.steps:
        for number in step.inputs:
            if number not in graph.constants:
                continue
            values = graph.constants[number]
            if step.operator == "PRELU":
                values = values.flatten()
            elif values.dim() == 4:
                # Stored as [out, height, width, in]; one input per filter if depthwise.
                order = (3, 0, 1, 2) if step.operator != "CONV_2D" else (0, 3, 1, 2)
                values = values.permute(order).contiguous()
            yield values


# ---- whether there is one


@dataclass(frozen=True)
class ChosenSegmenter:
    """What was decided on. about: a sentence for people, on which it is and why.

    weights: name → SHA-256, for cache keys; none if there is no segmenter. build: makes it.
    """

    about: str
    weights: Mapping[str, str] = field(default_factory=dict)
    build: Callable[[], HairSegmenter | None] = lambda: None


def segmenter_file(folder: Path | None = None) -> Path:
    """Where `vidhair models pull` puts the published file; a folder in place of the usual one."""
    (entry,) = find_weights([PUBLISHED])
    return (folder or weights_folder()) / entry.file


def find_segmenter(
    choice: str, *, device: str = "cpu", folder: Path | None = None
) -> ChosenSegmenter:
    """The published network, if it is on this machine.

    choice: "auto" takes the file that was pulled, if there is one; "none" takes none; anything
    else is the path of the file. Raises CheckpointUnreadable if a file is not what it should be.
    """
    pulled = segmenter_file(folder)
    if choice == "none":
        return ChosenSegmenter("hair is found by the pack's parser alone, as matte.segmenter asks")
    if choice == "auto" and not os.path.lexists(pulled):
        return ChosenSegmenter(
            "hair is found by the pack's parser alone; "
            f"`vidhair models pull {PUBLISHED}` gets a network that was made for real hair"
        )
    path = pulled if choice == "auto" else Path(choice)
    network = read_hair_segmenter(path)
    return ChosenSegmenter(
        f"hair is found by MediaPipe's network, which lies at {path}",
        {"segmenter": fingerprint(dict(network.state_dict()))},
        lambda: network.to(device),
    )
