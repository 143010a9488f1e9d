"""Directions and channels that are found: what they move, what they leave, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests import small
from tests.models.tiny import random
from vidhair.edits import Channels, Direction
from vidhair.edits.style_space import style_sizes
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import Label
from vidhair.training import directions
from vidhair.training.directions import (
    Asked,
    RankedChannel,
    boundary_of,
    extremes,
    local,
    ranking,
    read_labels,
    separating,
    styles_of,
    train_channels,
    train_direction,
    without,
)
from vidhair.training.scores import Seen, check_score, drawn_codes

pytestmark = pytest.mark.usefixtures("one_thread")

D = 12
RNG = np.random.default_rng(0)


def clouds(direction: Any, count: int = 200) -> tuple[Any, Any]:
    """Codes that differ in all numbers, and which lie on the far side of a plane off their mean."""
    codes = np.random.default_rng(3).normal(size=(count, D)) + 5
    return codes, codes @ direction > 5 * direction.sum() + 0.2


class TestSupportVectors:
    NORMAL = np.eye(D)[2] * 0.8 + np.eye(D)[7] * 0.6

    def test_the_plane_between_two_sides_is_found(self) -> None:
        codes, positive = clouds(self.NORMAL, 2000)
        normal, offset = separating(codes, positive)
        assert np.linalg.norm(normal) == pytest.approx(1)
        assert normal @ self.NORMAL > 0.98
        assert ((codes @ normal + offset > 0) == positive).mean() > 0.97

    def test_nothing_near_the_plane_has_a_smaller_loss(self) -> None:
        codes, positive = clouds(self.NORMAL)
        normal, offset = separating(codes, positive)
        mean = codes.mean(0)
        scale = np.sqrt(np.square(codes - mean).sum(1).mean())
        x, y = (codes - mean) / scale, np.where(positive, 1.0, -1.0)

        def loss(n: Any, b: float) -> float:
            return float(n @ n / 2 + np.square(np.maximum(0, 1 - y * (x @ n + b))).sum())

        shift = (offset + mean @ normal) / scale
        lengths = np.linspace(0.1, 30, 600)
        best = min(lengths, key=lambda length: loss(length * normal, length * shift))
        least = loss(best * normal, best * shift)
        for _ in range(50):
            other = normal + 0.05 * RNG.normal(size=D)
            assert loss(best * other, best * shift) > least

    def test_labels_of_two_values_are_all_compared(self) -> None:
        chosen, positive = extremes(np.array([1.0, 0, np.nan, 1, 0]), 0.1)
        assert chosen.tolist() == [0, 1, 3, 4] and positive.tolist() == [True, False, True, False]

    def test_of_scores_the_ends_are_compared(self) -> None:
        scores = np.append(RNG.permutation(200).astype(float), np.nan)
        chosen, positive = extremes(scores, 0.1)
        assert sorted(scores[chosen[positive]]) == list(range(180, 200))
        assert sorted(scores[chosen[~positive]]) == list(range(20))

    @pytest.mark.parametrize("scores", [np.ones(50), np.arange(9.0), np.full(40, np.nan)])
    def test_scores_that_tell_nothing_apart_are_refused(self, scores: Any) -> None:
        with pytest.raises(InvalidSetting, match=r"tell no two sides apart; give more codes"):
            extremes(scores, 0.1)

    def test_held_out_codes_tell_the_accuracy(self) -> None:
        codes, positive = clouds(self.NORMAL, 600)
        assert boundary_of(codes, positive.astype(float), 0.1).accuracy > 0.9
        labels = np.random.default_rng(1).integers(0, 2, 600).astype(float)
        assert 0.3 < boundary_of(codes, labels, 0.1).accuracy < 0.7

    def test_a_conditional_direction_does_not_move_along_the_others(self) -> None:
        normal, *others = np.random.default_rng(2).normal(size=(3, D))
        left = without(normal / np.linalg.norm(normal), others)
        assert np.linalg.norm(left) == pytest.approx(1) and left @ normal > 0
        assert max(abs(left @ other) for other in others) < 1e-12
        # One other, as InterFaceGAN has it: n₁ − (n₁·n₂)n₂.
        one = others[0] / np.linalg.norm(others[0])
        want = normal - (normal @ one) * one
        np.testing.assert_allclose(without(normal, [one]), want / np.linalg.norm(want))

    def test_nothing_is_left_of_the_direction_itself(self) -> None:
        with pytest.raises(InvalidSetting, match="--without takes away all"):
            without(self.NORMAL, [self.NORMAL * 3])


def read(pack: Pack, codes: torch.Tensor, name: str) -> torch.Tensor:
    assert pack.attributes is not None
    return pack.attributes.read(codes[:, None])[:, pack.attributes.index([name])[0]]


def test_a_direction_moves_its_attribute_and_the_edit_takes_it(tmp_path: Path) -> None:
    pack, target = small.pack(), tmp_path / "smile.safetensors"
    made = train_direction(pack, Asked(by="smile", count=600), [], target)
    assert made.accuracy > 0.9
    edit = Direction(file=str(target))
    edit.check(pack, "edit")
    step = edit.change(pack.generator, None)[0]
    codes = drawn_codes(pack, 50, seed=5)
    before = read(pack, codes, "smile")
    assert (read(pack, codes + 2 * step, "smile") > before).all()
    assert (read(pack, codes - 2 * step, "smile") < before).all()
    assert float(codes.double().numpy().std(0).max()) > 0
    held = load_file(target)
    assert held["direction"].shape == (1, small.WIDTH) and held["offset"].shape == (1,)


def test_a_direction_without_another_leaves_its_score(tmp_path: Path) -> None:
    pack = small.pack()
    other, target = tmp_path / "yaw.safetensors", tmp_path / "smile.safetensors"
    train_direction(pack, Asked(by="yaw", count=600), [], other)
    train_direction(pack, Asked(by="smile", count=600), [other], target)
    free, apart = load_file(target)["direction"][0], load_file(other)["direction"][0]
    assert abs(float(free @ apart)) < 1e-5
    codes = drawn_codes(pack, 50, seed=5)
    # What the other's boundary says of them stays; their smile does not.
    torch.testing.assert_close((codes + 3 * free) @ apart, codes @ apart, atol=1e-4, rtol=0)
    assert (read(pack, codes + 3 * free, "smile") > read(pack, codes, "smile")).all()


def test_labels_of_a_file(tmp_path: Path) -> None:
    pack, normal = small.pack(), random(small.WIDTH, seed=8)
    codes = drawn_codes(pack, 400, seed=2)
    codes = codes - codes.mean(0)
    np.save(tmp_path / "codes.npy", codes.numpy())
    lines = ["name,glasses"]
    lines += [f"{k},{int(code @ normal > 0)}" for k, code in enumerate(codes)]
    lines[7] = "6,"
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    asked = Asked(by="glasses", labels=tmp_path / "labels.csv", codes=tmp_path / "codes.npy")
    made = train_direction(pack, asked, [], tmp_path / "glasses.safetensors")
    assert made.accuracy > 0.85 and (np.sign(codes.numpy() @ made.normal) > 0).any()
    assert np.corrcoef(codes.numpy() @ made.normal, codes @ normal)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("text", "column", "labels"),
    [
        ("1\n0\n0.5\n", None, [1, 0, 0.5]),
        ("age\n1\n0\n", None, [1, 0]),
        ("age,smile\n1,3\n0,\n", "smile", [3, np.nan]),
    ],
)
def test_labels_are_read(tmp_path: Path, text: str, column: str | None, labels: Any) -> None:
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.csv", column), labels)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("age\n1\nold\n", None, r"a\.csv holds 'old' where a number belongs"),
        ("age,smile\n1,2\n", "hair", r"a\.csv has no column 'hair'; it has \['age', 'smile'\]"),
        ("", None, r"a\.csv holds no labels"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, text: str, column: str | None, said: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InvalidSetting, match=said):
        read_labels(tmp_path / "a.csv", column)
    with pytest.raises(InvalidSetting, match=r"none\.csv cannot be read \(No such file"):
        read_labels(tmp_path / "none.csv", None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"--by is not given; pack 'tiny' can tell .*smile.*seen_hair"),
        ({"by": "beauty"}, r"--by 'beauty' is nothing that pack 'tiny' can tell"),
        ({"labels": "labels.csv"}, r"--labels needs --codes"),
        ({"labels": "labels.csv", "codes": "codes.npy"}, r"has 3 labels for 4 codes; give as many"),
        (
            {"by": "smile", "codes": "wide.npy"},
            r"rows of 33 numbers, .* have 32; give codes of its",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, asked: dict[str, str], said: str) -> None:
    np.save(tmp_path / "codes.npy", np.ones((4, small.WIDTH)))
    np.save(tmp_path / "wide.npy", np.ones((4, 33)))
    (tmp_path / "labels.csv").write_text("1\n0\n1\n")
    given: dict[str, Any] = {
        k: tmp_path / v if k in ("labels", "codes") else v for k, v in asked.items()
    }
    with pytest.raises(InvalidSetting, match=said):
        train_direction(small.pack(), Asked(**given), [], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_another_direction_of_another_width_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.ones(9))
    with pytest.raises(InvalidSetting, match=r"--without .* 1 rows of 9 numbers; give one of 32"):
        train_direction(
            small.pack(), Asked(by="smile"), [tmp_path / "other.npy"], tmp_path / "a.safetensors"
        )


def test_pictures_without_a_face_tell_no_score(tmp_path: Path) -> None:
    """What a generator of noise draws."""
    asked = Asked(by="seen_smile", count=20)
    with pytest.raises(NoFaceFound, match=r"seen_smile cannot be told in \d+ of 20 pictures"):
        train_direction(small.stylegan2_pack(), asked, [], tmp_path / "a.safetensors")
    with pytest.raises(InvalidSetting, match="--by"):
        check_score(small.stylegan3_pack(), "smile")


# ---- channels


def test_what_exemplars_share_is_relevant() -> None:
    mean, deviation = torch.zeros(4), torch.tensor([1.0, 2.0, 1.0, 0.0])
    exemplars = 0.1 * random(30, 4, seed=1)
    exemplars[:, 1] += 4.0  # all of them, by two deviations
    exemplars[:, 2] += 3 * random(30, seed=2)  # as much, but some more and some less
    exemplars[:, 3] = 0
    relevance, middle = ranking(exemplars, mean, deviation)
    assert relevance.argmax() == 1 and float(middle[1]) == pytest.approx(2, abs=0.05)
    assert relevance[3] == 0
    apart = exemplars[:, 1] / 2
    want = float(apart.mean().abs() / apart.std(correction=0))
    assert float(relevance[1]) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("pack", [small.pack, small.stylegan2_pack])
def test_channels_move_styles_towards_those_who_have_it(pack: Any, tmp_path: Path) -> None:
    name = "smile" if pack is small.pack else "age"
    target = tmp_path / "found.safetensors"
    asked = Asked(by=name, count=400)
    found = train_channels(pack(), asked, 5, None, target)
    assert len(found) == 5 and found[0].relevance >= found[-1].relevance > 0
    edit = Channels(file=str(target))
    edit.check(pack(), "edit")
    chosen = edit.chosen()
    assert [c[:2] for c in chosen] == [(one.layer, one.channel) for one in found]
    assert max(abs(amount) for *_, amount in chosen) == pytest.approx(1)
    # Faces with more of it lie on that side of every channel.
    codes = drawn_codes(pack(), 400, seed=0)
    scores = read(pack(), codes, name)
    styles = styles_of(pack().generator, codes)
    sizes = style_sizes(pack().generator)
    for layer, channel, amount in chosen:
        place = sum(sizes[:layer]) + channel
        most = styles[scores.topk(40).indices, place].mean()
        assert (most - styles[:, place].mean()) * amount > 0


class TestLocal:
    """A generator whose only channels paint the left, the right, or all of a picture."""

    @pytest.fixture
    def pack(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        planes = np.zeros((5, 8, 8), np.float32)
        planes[Label.HAIR, :, :4], planes[Label.SKIN, :, 4:] = 255, 255
        seen = Seen(np.zeros((8, 8, 3), np.uint8), np.zeros((478, 2), np.float32), lambda: planes)
        changes = []

        def drawn(pack: Any, code: Any, change: torch.Tensor) -> torch.Tensor:
            changes.append(change.clone())
            picture = torch.zeros(1, 3, 16, 16)
            picture[..., :8] += change[0] + change[2]
            picture[..., 8:] += change[1] + change[2]
            return picture

        monkeypatch.setattr(directions, "drawn_codes", lambda *_, **__: torch.zeros(3, D))
        monkeypatch.setattr(directions, "looks_of", lambda *_: [seen, None, seen])
        monkeypatch.setattr(directions, "drawn", drawn)
        self.changes = changes
        return None

    CANDIDATES = tuple(RankedChannel(0, channel, 1.0, 1.0) for channel in range(3))

    @pytest.mark.parametrize(("region", "channel"), [("hair", 0), ("skin", 1)])
    def test_only_what_changes_one_region_is_left(
        self, pack: Any, region: str, channel: int
    ) -> None:
        first = torch.tensor([0, 3])
        found = local(pack, self.CANDIDATES, torch.ones(3), first, region)
        assert [one.channel for one in found] == [channel]
        assert found[0].region == region and found[0].share == pytest.approx(1, abs=1e-3)

    def test_every_channel_is_tried_alone(self, pack: Any) -> None:
        local(pack, self.CANDIDATES, torch.ones(3), torch.tensor([0, 3]), "hair")
        assert all(int((change != 0).sum()) == 1 for change in self.changes)
        assert len(self.changes) == 3 * 2 * 2

    def test_a_region_that_is_none(self, pack: Any) -> None:
        with pytest.raises(InvalidSetting, match="--region 'nose' must be one of background, skin"):
            local(pack, self.CANDIDATES, torch.ones(3), torch.tensor([0, 3]), "nose")
