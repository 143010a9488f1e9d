"""Pictures: colors, matting, motion, resampling, blur, morphology."""
