"""How fast vidhair is on this machine, against what the machine can do and against others.

Candidates take turns (A B A B …) in one process, after a first call of each that is not counted;
the time is the median. Rates come from counted arithmetic (`counting`) and are compared with the
best matrix product, convolution and memory copy that the same run measured.

--vs MODULE:FUNCTION lets another implementation take part. It is imported, from this folder too,
and called with the same arguments:

  kernels  FUNCTION(x, ...) with the signature of the op that it is named after, or that --op names:
             filtered_lrelu(x, *, fu, fd, b, up, down, padding, clamp)
             modulated_conv(x, weight, style, demodulation, *, padding)
             upsampling_conv(x, weight, style, demodulation)
             upfirdn2d(x, f, *, up, padding, gain)
             bias_act(x, b, *, clamp)
  render   FUNCTION(generator, ws, transform) -> picture [1, 3, H, W] in float32.
             generator: vidhair's, with random weights; take them from its state_dict() in the first
             call, and keep what you make of them. transform: [3, 3], as vidhair's synthesis takes
             it; None for StyleGAN2. For StyleGANEX it is the frame [1, 3, 256, 256] whose layout is
             drawn in the style of ws, without noise. For "forward + backward" the picture is
             differentiated, and the gradients of ws are compared.
  encode   FUNCTION(network, pictures) -> codes [B, L, D].
             network: what vidhair calls with the same pictures, before its normalisations are
             folded into its convolutions; a loop has .encoder (with .network,
             .w_avg and .steps), .synthesis and .average.

Its rows show how many times vidhair's time it takes, and the largest difference between the
results as a share of the largest value of vidhair's.
"""
