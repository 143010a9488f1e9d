import pytest
import torch

from vidhair.geometry import Grid
from vidhair.stages.cut_out import frame_matte


class TestFrameMatte:
    @pytest.mark.parametrize("step", [1, 2, 3])
    def test_it_stays_where_hair_is(self, step: int) -> None:
        """However coarse its grid is, and whatever edges the picture has beside it."""
        grid, window = Grid(0, 0, step, 60 // step, 90 // step), Grid.of_pixels(60, 90)
        alpha = torch.zeros(1, 1, grid.height, grid.width)
        alpha[..., : grid.width // 3] = 1
        shades = torch.rand(1, 3, 60, 90, generator=torch.Generator().manual_seed(3))
        full = frame_matte(alpha, grid, shades, window)[0, 0]
        assert full[:, 30 + 3 * step + 1 :].max() == 0
        assert full[:, : 30 - 6 * step].min() > 0.95
