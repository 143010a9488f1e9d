"""The fast implementations of the ops, one package per op; their sources lie in `kernels/`."""
