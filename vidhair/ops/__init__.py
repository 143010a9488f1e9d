"""The ops of the generators: contract, plain PyTorch reference, and the choice of a kernel."""

from vidhair.ops.bias_act import bias_act
from vidhair.ops.downsampling_conv import downsampling_conv
from vidhair.ops.filtered_lrelu import filtered_lrelu
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.upfirdn2d import upfirdn2d
from vidhair.ops.upsampling_conv import upsampling_conv

__all__ = [
    "bias_act",
    "downsampling_conv",
    "filtered_lrelu",
    "modulated_conv",
    "upfirdn2d",
    "upsampling_conv",
]
