"""The ops of the generators: contract, plain PyTorch reference, and the choice of a kernel."""

from vidhair.ops.bias_act import bias_act
from vidhair.ops.doubling_conv import doubling_conv
from vidhair.ops.filtered_lrelu import filtered_lrelu
from vidhair.ops.halving_conv import halving_conv
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.upfirdn2d import upfirdn2d

__all__ = [
    "bias_act",
    "doubling_conv",
    "filtered_lrelu",
    "halving_conv",
    "modulated_conv",
    "upfirdn2d",
]
