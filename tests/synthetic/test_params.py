import itertools
from dataclasses import fields
from typing import Any

import pytest
import torch

from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.models.encoders.attributes import MOVING
from vidhair.synthetic.params import (
    HAIR_STYLES,
    NATURAL_HAIR,
    FaceParams,
    column_names,
    sample_faces,
)

NAMES = [f.name for f in fields(FaceParams)]
SHAPE = NAMES[: NAMES.index("melanin")]
COLORS = [n.removesuffix(".r") for n in column_names() if n.endswith(".r")]
EXPRESSION = (
    "mouth_open", "smile", "blink_left", "blink_right", "gaze_x", "gaze_y", "brow_raise", "yaw",
    "pitch",
)  # fmt: skip


def sampled(count: int = 400, seed: int = 0, **options: Any) -> FaceParams:
    return sample_faces(count, torch.Generator().manual_seed(seed), **options)


def same(a: FaceParams, b: FaceParams) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in NAMES)


class TestColumns:
    def test_packing_is_undone_by_unpacking(self) -> None:
        faces = sampled(7)
        columns = faces.pack()
        assert columns.shape == (7, len(column_names())) and columns.dtype == torch.float32
        assert same(FaceParams.unpack(columns), faces)
        assert torch.equal(FaceParams.unpack(columns).pack(), columns)

    def test_every_column_is_called_by_what_it_holds(self) -> None:
        faces = sampled(3)
        columns = dict(zip(column_names(), faces.pack().unbind(1), strict=True))
        assert torch.equal(columns["yaw"], faces.yaw)
        for k, channel in enumerate("rgb"):
            assert torch.equal(columns[f"hair_colour.{channel}"], faces.hair_colour[:, k])
            name = f"background_edge.{channel}"
            assert torch.equal(columns[name], faces.background_edge[:, k])

    def test_names_are_unique_and_hold_all_that_moves(self) -> None:
        assert len(set(column_names())) == len(column_names())
        assert set(MOVING) <= set(column_names())

    @pytest.mark.parametrize("wrong", [-1, 1, 3])
    def test_another_number_of_columns_is_refused(self, wrong: int) -> None:
        with pytest.raises((AssertionError, IndexError)):
            FaceParams.unpack(torch.zeros(2, len(column_names()) + wrong))

    def test_fields_of_other_shapes_are_refused(self) -> None:
        values = {n: getattr(sampled(3), n) for n in NAMES}
        for name, value in (("smile", torch.zeros(2)), ("hair_colour", torch.zeros(3))):
            with pytest.raises(AssertionError, match=name):
                FaceParams(**values | {name: value})


class TestBatches:
    def test_some_of_the_faces(self) -> None:
        faces = sampled(5)
        for index in (slice(1, 4), [0, 2], torch.tensor([3, 3]), torch.arange(5) > 2):
            got = faces[index]
            assert torch.equal(got.pack(), faces.pack()[index])
        assert torch.equal(faces[2].pack(), faces.pack()[2:3])

    def test_the_last_face(self) -> None:
        faces = sampled(5)
        assert torch.equal(faces[-1].pack(), faces.pack()[4:])

    def test_going_through_the_faces_comes_to_an_end(self) -> None:
        faces = sampled(3)
        assert len(list(itertools.islice(iter(faces), 5))) == 3

    def test_concatenation(self) -> None:
        a, b = sampled(2), sampled(3, seed=1)
        both = FaceParams.concatenate([a, b])
        assert len(both) == 5 and same(both[:2], a) and same(both[2:], b)

    def test_replacing_some_fields(self) -> None:
        faces = sampled(3)
        got = faces.replace(smile=0.5, hair_colour=(0.1, 0.2, 0.3), yaw=torch.arange(3.0))
        assert torch.equal(got.smile, torch.full((3,), 0.5))
        assert torch.equal(got.hair_colour, torch.tensor([0.1, 0.2, 0.3]).repeat(3, 1))
        assert torch.equal(got.yaw, torch.arange(3.0))
        others = set(NAMES) - {"smile", "hair_colour", "yaw"}
        assert all(torch.equal(getattr(got, n), getattr(faces, n)) for n in others)
        assert not torch.equal(faces.yaw, got.yaw)

    def test_replacing_an_unknown_field_is_an_error(self) -> None:
        with pytest.raises(KeyError, match="beard"):
            sampled(1).replace(beard=1.0)


class TestSampling:
    def test_the_same_seed_gives_the_same_faces(self) -> None:
        assert same(sampled(9, seed=3), sampled(9, seed=3))
        assert not same(sampled(9, seed=3), sampled(9, seed=4))

    def test_the_global_generator_is_not_used(self) -> None:
        torch.manual_seed(1)
        state = torch.get_rng_state()
        sampled(5)
        assert torch.equal(torch.get_rng_state(), state)

    def test_colors_can_be_shown(self) -> None:
        faces = sampled()
        for name in COLORS:
            color = getattr(faces, name)
            assert color.shape == (400, 3) and color.min() >= 0 and color.max() <= 1, name
            assert color.std(0).min() > 0.01, name

    @pytest.mark.parametrize("name", [*SHAPE, "redness", "hairline"])
    def test_shapes_vary_in_standard_deviations(self, name: str) -> None:
        values = getattr(sampled(), name)
        assert values.abs().max() <= 2
        assert abs(float(values.mean())) < 0.2 and 0.75 < float(values.std()) < 1.1

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [
            ("melanin", 0, 1),
            ("lip_redness", 0, 1.5),
            ("hair_wave_rate", 0, 1),
            ("hair_part", -1, 1),
            ("mouth_open", 0, 1),
            ("smile", -0.25, 1),
            ("blink_left", 0, 1),
            ("gaze_x", -1, 1),
            ("gaze_y", -1, 1),
            ("brow_raise", -0.5, 1),
            ("yaw", -0.4, 0.4),
            ("pitch", -0.24, 0.24),
            ("light_azimuth", -0.9, 0.9),
            ("light_elevation", 0.1, 0.9),
            ("light_strength", 0.75, 1.15),
            ("light_warmth", -1, 1),
        ],
    )
    def test_ranges_are_kept_and_used(self, name: str, low: float, high: float) -> None:
        values = getattr(sampled(), name)
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6
        assert values.max() - values.min() > 0.8 * (high - low)

    def test_every_hair_style_occurs(self) -> None:
        faces = sampled()
        assert (faces.hair_volume == 0).any() and (faces.hair_volume > 0.15).any()
        for name in ("hair_length", "hair_bun", "hair_fringe", "hair_curl", "hair_lift"):
            share = float((getattr(faces, name) > 0).float().mean())
            assert 0.03 < share < 0.6, name

    @pytest.mark.parametrize("style", HAIR_STYLES)
    def test_a_style_has_its_features_and_no_others(self, style: str) -> None:
        faces, table = sampled(60, style=style), HAIR_STYLES[style]
        for feature in ("length", "volume", "wave", "fringe", "bun", "curl", "lift", "recede"):
            values, usual = getattr(faces, f"hair_{feature}"), table.get(feature, 0.0)
            if usual == 0:
                assert not values.any(), feature
            else:
                assert (values > 0).all(), feature
                assert float(values.mean()) == pytest.approx(usual, abs=0.1 + 0.1 * usual), feature

    def test_natural_hair_is_commoner_than_dyed(self) -> None:
        assert set(NATURAL_HAIR) < set(HAIR_COLORS)
        hair = sampled().hair_colour
        blue = (hair[:, 2] > hair[:, 0] + 0.1).float().mean()  # blue and purple
        warm = (hair[:, 0] > hair[:, 2] + 0.03).float().mean()
        assert 0.01 < blue < 0.25 < warm

    def test_a_neutral_face_looks_ahead_and_rests(self) -> None:
        faces = sampled(50, neutral=True)
        assert all(not getattr(faces, name).any() for name in EXPRESSION)
        assert faces.jaw_width.std() > 0.5

    def test_both_eyes_blink_together(self) -> None:
        faces = sampled()
        assert torch.equal(faces.blink_left, faces.blink_right)

    def test_an_unknown_style_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="mohawk"):
            sampled(1, style="mohawk")
