import numpy as np
import torch

from vidhair.report.pictures import PARSING_COLORS, paint_labels, to_picture


def test_black_and_white_and_beyond() -> None:
    image = torch.tensor([-3.0, -1, 0, 1, 3]).view(1, 1, 5).expand(3, 2, 5)
    picture = to_picture(image)
    assert picture.shape == (2, 5, 3) and picture.dtype == np.uint8
    assert picture[0, :, 0].tolist() == [0, 0, 127, 255, 255]


def test_every_class_has_its_color_and_others_are_black() -> None:
    painted = paint_labels(np.array([[0, 10, 15], [16, 200, 255]], np.uint8))
    assert [tuple(c) for c in painted[0]] == [PARSING_COLORS[k] for k in (0, 10, 15)]
    assert not painted[1].any()
