"""How alike two pictures look: LPIPS (Zhang et al. 2018), or its form on features of a pack.

Pictures are [B, 3, H, W] in −1 … 1. LPIPS sees with AlexNet or VGG16 of torchvision, whose weights
are looked for on this machine and never fetched; its weights per channel come with `lpips`.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.download import weights_folder
from vidhair.checkpoints.third_party import check_tensors, read_checkpoint
from vidhair.errors import CheckpointUnreadable, InvalidSetting

WEIGHTS_VARIABLE = "VIDHAIR_WEIGHTS"
CHOICES = ("auto", "lpips_alex", "lpips_vgg", "pack")

TINY = 1e-8  # beside squared lengths of a pack's features, and of LPIPS' own, whose constant it is
LPIPS_TINY = 1e-20
STYLE_LAYERS = 4  # by which textures are told, the first ones

Features = Callable[[Tensor], list[Tensor]]


class PerceptualDistance(Protocol):
    """A distance that gradients pass through, zero for equal pictures.

    mask: [B, 1, H, W], how much each position counts; ones are as no mask. The result is one number
    for the batch, and so for a batch of one that picture's distance.
    """

    def __call__(self, got: Tensor, want: Tensor, mask: Tensor | None = None) -> Tensor: ...


class FeaturesDistance(PerceptualDistance, Protocol):
    """One of features of pictures, which tell textures, too."""

    @property
    def features(self) -> Features: ...


def _unit(maps: Tensor, tiny: float) -> Tensor:
    """Features [B, C, h, w] of length one at every position; zero where they are all zero."""
    return maps * (maps.square().sum(1, keepdim=True) + tiny).rsqrt()


def _mean(distance: Tensor, mask: Tensor | None) -> Tensor:
    """Over the positions of a layer [B, 1, h, w], under a mask of any size."""
    if mask is None:
        return distance.mean()
    m = F.interpolate(mask, size=distance.shape[2:], mode="area")
    return (distance * m).sum() / (m.sum() + 1e-6)


@dataclass(frozen=True)
class FeatureDistance:
    """Squared distance of unit-normalised features, averaged over positions and layers.

    The form of LPIPS (Zhang et al. 2018, eq. 1) without learned weights per channel.
    """

    features: Features

    def __call__(self, got: Tensor, want: Tensor, mask: Tensor | None = None) -> Tensor:
        total = got.new_zeros([])
        maps_got, maps_want = self.features(got), self.features(want)
        for a, b in zip(maps_got, maps_want, strict=True):
            distance = (_unit(a, TINY) - _unit(b, TINY)).square().sum(1, keepdim=True)
            total = total + _mean(distance, mask)
        return total / len(maps_got)


# ---- LPIPS


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a classifier of torchvision. file: its name in torch's cache.

    convolutions: place in `features` → (outputs, inputs, side). widths: of the layers compared.
    """

    title: str
    file: str
    convolutions: Mapping[int, tuple[int, int, int]]
    widths: tuple[int, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """torchvision's name → shape of every tensor."""
        found: dict[str, tuple[int, ...]] = {}
        for place, (outputs, inputs, side) in self.convolutions.items():
            found[f"features.{place}.weight"] = (outputs, inputs, side, side)
            found[f"features.{place}.bias"] = (outputs,)
        return found

    @property
    def linear_shapes(self) -> dict[str, tuple[int, ...]]:
        """lpips' name → shape of the weights per channel of every layer."""
        return {f"lin{i}.model.1.weight": (1, w, 1, 1) for i, w in enumerate(self.widths)}


# By the names that lpips gives them; the first is preferred.
BACKBONES = {
    "alex": Backbone(
        "AlexNet",
        "alexnet-owt-7be5be79.pth",
        {
            0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3),
        },
        (64, 192, 384, 256, 256),
    ),
    "vgg": Backbone(
        "VGG16",
        "vgg16-397923af.pth",
        {
            0: (64, 3, 3), 2: (64, 64, 3), 5: (128, 64, 3), 7: (128, 128, 3), 10: (256, 128, 3),
            12: (256, 256, 3), 14: (256, 256, 3), 17: (512, 256, 3), 19: (512, 512, 3),
            21: (512, 512, 3), 24: (512, 512, 3), 26: (512, 512, 3), 28: (512, 512, 3),
        },
        (64, 128, 256, 512, 512),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LPIPSWeights:
    """What an LPIPS is made of. net: a name of BACKBONES.

    convolutions: of the file at `path`, by torchvision's names. linear: by those of lpips.
    """

    net: str
    path: Path
    convolutions: Mapping[str, Tensor]
    linear: Mapping[str, Tensor]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights; the file's classifier plays no part, nor does its format."""
        return fingerprint([self.net, dict(self.convolutions), dict(self.linear)])


def read_lpips(
    path: str | os.PathLike[str], nets: Sequence[str] = tuple(BACKBONES)
) -> LPIPSWeights:
    """Weights of LPIPS on a classifier of torchvision, with or without its last layers.

    nets: which ones the file may hold. Raises CheckpointUnreadable.
    """
    path = Path(path)
    wanted = " or ".join(BACKBONES[net].file for net in nets) + " of torchvision"
    data = read_checkpoint(path).data
    if not isinstance(data, dict):
        raise CheckpointUnreadable(f"{path} holds no tensors by name; use {wanted}")
    convolutions = {n: t for n, t in data.items() if not str(n).startswith("classifier.")}
    net = next((n for n in nets if BACKBONES[n].shapes.keys() == convolutions.keys()), nets[0])
    backbone = BACKBONES[net]
    package = find_spec("lpips")
    assert package is not None and package.origin is not None, "vidhair requires lpips"
    linear = Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth"
    return LPIPSWeights(
        net,
        path,
        check_tensors(path, convolutions, backbone.shapes, wanted),
        check_tensors(
            linear, read_checkpoint(linear).data, backbone.linear_shapes, "lpips 0.1.4 or later"
        ),
    )


def weight_folders() -> tuple[Path, ...]:
    """Where files of weights may lie: vidhair's own folder, then torch's cache (TORCH_HOME)."""
    return weights_folder(), Path(torch.hub.get_dir()) / "checkpoints"


def find_lpips(
    nets: Sequence[str] = tuple(BACKBONES), folders: Sequence[Path] | None = None
) -> LPIPSWeights | None:
    """The weights of the first net whose file lies in one of the folders, if any.

    folders: where to look; None for `weight_folders()`. Raises CheckpointUnreadable.
    """
    for net in nets:
        for folder in weight_folders() if folders is None else folders:
            if os.path.lexists(folder / BACKBONES[net].file):
                return read_lpips(folder / BACKBONES[net].file, (net,))
    return None


class LPIPS:
    """LPIPS 0.1 (Zhang et al. 2018, eq. 1): what FeatureDistance is, with learned weights per
    channel, and summed over layers. Pictures have sides of 32 or more.

    A mask is brought to the grid of each layer, so that ones are as no mask. The package's own maps
    (`spatial=True`) are enlarged to the picture, and their mean is another number.
    """

    def __init__(self, weights: LPIPSWeights, device: str | torch.device = "cpu"):
        import lpips

        # On "meta" nothing is drawn at random or held twice.
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # lpips calls torchvision as it was once called
            model = lpips.LPIPS(net=weights.net, pretrained=False, pnet_rand=True, verbose=False)
        # `slice2.3.weight` is torchvision's `features.3.weight`.
        convolutions = {
            name: weights.convolutions["features." + name.partition(".")[2]].float()
            for name in model.net.state_dict()
        }
        model.net.load_state_dict(convolutions, assign=True)
        for index, layer in enumerate(model.lins):
            linear = weights.linear[f"lin{index}.model.1.weight"].float()
            layer.load_state_dict({"model.1.weight": linear}, assign=True)
        self.model: Any = model.eval().requires_grad_(False).to(device)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Of VGG16 relu1_2, 2_2, 3_3 and 4_3, of pictures as they are: without the classifier's
        normalisation, as HairCLIPv2 takes them."""
        return list(self.model.net(pictures))[:STYLE_LAYERS]

    def __call__(self, got: Tensor, want: Tensor, mask: Tensor | None = None) -> Tensor:
        total = got.new_zeros([])
        maps_got, maps_want = (self.model.net(self.model.scaling_layer(x)) for x in (got, want))
        for a, b, weigh in zip(maps_got, maps_want, self.model.lins, strict=True):
            distance = weigh((_unit(a, LPIPS_TINY) - _unit(b, LPIPS_TINY)).square())
            total = total + _mean(distance, mask)
        return total


# ---- which one


@dataclass(frozen=True)
class Perceptual:
    """A distance that was decided on. about: a sentence for people, on which it is and why.

    weights: name → SHA-256 of what it is made of, for cache keys. build: makes it, on first use.
    """

    about: str
    weights: Mapping[str, str]
    build: Callable[[], FeaturesDistance]


def find_perceptual(
    choice: str,
    path: str,
    pack_features: Callable[[], Features],
    pack_weights: Mapping[str, str],
    *,
    device: str = "cpu",
    folders: Sequence[Path] | None = None,
) -> Perceptual:
    """Decide between LPIPS and the features of the pack's own net, by what is on this machine.

    choice: of CHOICES. "auto" takes LPIPS on AlexNet, else on VGG16, else the pack.
    path: a file of torchvision's weights; empty to look for one in `folders` (see `find_lpips`).
    pack_features, pack_weights: the pack's net and its fingerprints by part.
    Raises CheckpointUnreadable if an LPIPS asked for is not there or a file does not fit, and
    InvalidSetting for a path that would not be used.
    """
    assert choice in CHOICES, choice

    def of_pack(reason: str) -> Perceptual:
        about = f"tuning measures likeness on features of the pack's parser, {reason}"
        return Perceptual(about, pack_weights, lambda: FeatureDistance(pack_features()))

    if choice == "pack":
        if path:
            raise InvalidSetting(
                f"tune.perceptual_weights = {path!r} is not used with tune.perceptual = 'pack'; "
                "leave one of the two out"
            )
        return of_pack("as tune.perceptual asks")
    nets = tuple(BACKBONES) if choice == "auto" else (choice.removeprefix("lpips_"),)
    found = read_lpips(path, nets) if path else find_lpips(nets, folders)
    if found is not None:
        return Perceptual(
            f"tuning measures likeness by LPIPS on {BACKBONES[found.net].title}, "
            f"whose weights lie at {found.path}",
            {f"lpips_{found.net}": found.fingerprint},
            lambda: LPIPS(found, device),
        )
    if choice == "auto":
        return of_pack(
            "as LPIPS has no weights on this machine; `vidhair models pull lpips-alex` gets them"
        )
    (net,) = nets
    places = ", ".join(map(str, weight_folders() if folders is None else folders))
    raise CheckpointUnreadable(
        f"{choice} needs {BACKBONES[net].file}, which is not in {places}; "
        f"run `vidhair models pull lpips-{net}`, or set tune.perceptual_weights to its path"
    )
