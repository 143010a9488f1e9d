"""Networks for inference alone: their normalisations become part of the convolutions beside them.

A batch normalisation that no longer learns is x·scale + shift per channel.
"""

from typing import Any

from torch import Tensor, nn

from vidhair.models.convolution import Conv2d, channels_last

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def folded(network: nn.Module) -> Any:
    """What gives the same as a network in evaluation mode, in fewer and faster steps.

    The network is taken apart: use what is returned. A module that knows a faster form of itself
    says so by a method `folded`; one with `folds = False` stays as it is.
    """
    if not getattr(network, "folds", True):
        return network
    faster: Any = getattr(network, "folded", None)
    if faster is not None:
        return faster()
    if type(network) is nn.Conv2d and network.groups == 1 and network.dilation == (1, 1):
        return convolution(network.weight, network.bias, like=network)
    for name, part in network.named_children():
        setattr(network, name, folded(part))
    if isinstance(network, nn.Sequential):
        return nn.Sequential(*_without_norms(network))
    return network


def _without_norms(layers: nn.Sequential) -> list[nn.Module]:
    kept: list[nn.Module] = []
    for layer in layers:
        before = kept[-1] if kept else None
        if isinstance(layer, Norm) and isinstance(before, Conv2d | nn.Linear):
            kept[-1] = normalised(before, layer)
        elif (
            isinstance(layer, nn.ReLU)
            and isinstance(before, Conv2d | nn.Linear)
            # What has added a bias does not need its result for gradients, as a kernel may.
            and before.bias is not None
        ):
            kept.append(nn.ReLU(inplace=True))
        else:
            kept.append(layer)
    return kept


def affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """(scale, shift) [C] of a normalisation, in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.double() if norm.affine else shift


def normalised(layer: nn.Conv2d | nn.Linear, norm: Norm) -> Conv2d | nn.Linear:
    """A layer and the normalisation behind it, as one layer."""
    scale, shift = affine(norm)
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    bias = shift if layer.bias is None else shift + layer.bias * scale
    if isinstance(layer, nn.Conv2d):
        return convolution(weight, bias, like=layer)
    linear = nn.Linear(layer.in_features, layer.out_features, device="meta")
    linear.weight, linear.bias = _parameter(weight), _parameter(bias)
    return linear.eval()


def convolution(weight: Tensor, bias: Tensor | None, *, like: nn.Conv2d) -> Conv2d:
    """With strides and paddings as another one has them; the weight in channels-last memory."""
    sizes = like.in_channels, like.out_channels, like.kernel_size
    places = {"stride": like.stride, "padding": like.padding}
    layer = Conv2d(*sizes, **places, bias=bias is not None, device="meta")  # type: ignore[arg-type]
    layer.weight = _parameter(channels_last(weight))
    layer.bias = None if bias is None else _parameter(bias)
    return layer.eval()


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().float(), requires_grad=False)
