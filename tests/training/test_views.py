import torch
import torch.nn.functional as F

from vidhair.training.views import lowered, one_hot, sketch_of, windowed, worn

SIDE = 40


def test_what_is_lowered_has_lost_its_detail_and_kept_its_size() -> None:
    x = torch.arange(SIDE) % 2 * 2.0 - 1
    picture = 0.5 * x.expand(1, 3, SIDE, -1) + 0.2
    assert lowered(picture, 1) is picture
    low = lowered(picture, 4)
    assert low.shape == picture.shape and low.std() < 0.1 * picture.std()
    assert abs(float(low.mean() - picture.mean())) < 0.02


def test_what_is_worn_differs_every_time_and_shows_the_same() -> None:
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    one, two = (worn(picture, 2, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one, two)
    for other in (one, two):
        assert torch.corrcoef(torch.stack([other.flatten(), picture.flatten()]))[0, 1] > 0.8


def test_a_window_is_the_same_square_of_both() -> None:
    place = torch.arange(40 * 40, dtype=torch.float32).view(1, 1, 40, 40).repeat(4, 3, 1, 1)
    first, second = windowed(place, place + 1, 0.4, torch.Generator().manual_seed(0))
    assert first.shape == (4, 3, 16, 16) and torch.equal(second, first + 1)
    corners = first[:, 0, 0].min(1).values
    assert bool((corners % 8 == 0).all()) and len(set(corners.tolist())) > 1
    steps = (first[:, 0, 0, 1] - first[:, 0, 0, 0]).tolist()
    assert set(steps) == {1.0, -1.0}  # some are mirrored


class TestSketch:
    def test_strokes_run_where_light_changes(self) -> None:
        picture = torch.full((1, 3, 20, 30), -0.6)
        picture[..., 15:] = 0.7
        sketch = sketch_of(picture)
        assert sketch.shape == (1, 1, 20, 30)
        assert torch.allclose(sketch[..., :12], torch.ones(())) and sketch[..., 14].max() < 0.7
        assert torch.equal(sketch[..., 14], sketch[..., 15])

    def test_bright_on_dark_is_as_dark_on_bright(self) -> None:
        picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        assert torch.allclose(sketch_of(picture), sketch_of(-picture), atol=1e-5)


def test_one_label_is_left_where_there_are_shares_of_several() -> None:
    shares = torch.tensor([0.2, 0.1, 0.6, 0.1])[None, :, None, None].expand(1, 4, 2, 2)
    assert torch.equal(one_hot(shares)[0, :, 0, 0], torch.tensor([0.0, 0, 1, 0]))
