"""Codes → pictures: StyleGAN 1, 2 and 3, and how they are drawn within bounds."""
