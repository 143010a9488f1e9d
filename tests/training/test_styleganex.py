"""Training StyleGANEX: every task runs, its losses are what they are said to be, and a training
that is killed goes on to the same weights."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.world import InProcess
from vidhair.errors import InvalidSetting
from vidhair.models.pack import load_pack
from vidhair.models.parsers.face_parser import FaceParser
from vidhair.models.styleganex.network import LAYOUT_CODES, StyleGANEX
from vidhair.training import pairs, styleganex
from vidhair.training.generator import Standardiser
from vidhair.training.optim import WARM_UP
from vidhair.training.pairs import RenderedPairs, Sample
from vidhair.training.placement import Placement, shifted, still
from vidhair.training.styleganex import (
    Judges,
    Shown,
    Training,
    fill,
    step_seed,
    train,
    vector_of,
)
from vidhair.training.styleganex_pack import Request, train_styleganex
from vidhair.training.tasks import CONFIGS, TASKS
from vidhair.training.views import middle, resized

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = replace(CONFIGS["tiny"], people=4)
SIDE = CONFIG.side


class Noise:
    """Examples that are random, but always the same."""

    def __init__(self, count: int = 5, seed: int = 0):
        draw = torch.Generator().manual_seed(seed)

        def levels(*size: int) -> Tensor:
            coarse = torch.rand(count, *size, 5, 5, generator=draw)
            return (resized_up(coarse) * 255).to(torch.uint8)

        def resized_up(x: Tensor) -> Tensor:
            return torch.nn.functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear")

        self.arrays = {
            "image": levels(3), "target": levels(3), "labels": levels(4),
            "amount": torch.full((count,), 0.5), "params": torch.randn(count, 62, generator=draw),
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def take(self, indices: list[int]) -> Sample:
        return {name: values[indices] for name, values in self.arrays.items()}


def difference(got: Tensor, want: Tensor, mask: Tensor | None = None) -> Tensor:
    return (got - want).abs().mean()


def training_of(name: str, start: StyleGANEX | None = None, **changes: Any) -> Training:
    torch.manual_seed(1)
    config = replace(CONFIG, **changes)
    if start is None and name != "pretrain":
        start = StyleGANEX(config.of_task("inversion"))
    return Training(
        name, config, Judges(perceptual=difference), start=start,
        own_generator=name in ("pretrain", "toonify"),
    )  # fmt: skip


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "SHARD", 2)
    monkeypatch.setattr(pairs, "ProcessPoolExecutor", InProcess)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_what_it_shall(name: str, tmp_path: Path) -> None:
    """The encoder alone, with its fusions; a generator only where a new one is wanted."""
    training = training_of(name)
    before = {n: t.clone() for n, t in training.network.state_dict().items()}
    train(training, Noise(), Noise(2, seed=1), tmp_path, seed=1)
    changed = {n for n, p in training.network.named_parameters() if not torch.equal(p, before[n])}
    rooms = {n.partition(".")[0] for n in changed}
    own = name in ("pretrain", "toonify")
    assert rooms == {"encoder"} | ({"generator"} if own else set()) | (
        {"fusions"} if TASKS[name].skips else set()
    )
    assert not any("noise" in n for n in changed)
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").open()))
    assert [int(r["step"]) for r in rows if r["loss"]] == [1, 2, 3, 4]
    assert [int(r["step"]) for r in rows if r["held_out"]] == [0, 2, 4]
    used = {n for n in rows[-2] if rows[-2][n]}
    want = {"l2", "perceptual"}
    want |= {"codes"} if TASKS[name].codes else set()
    want |= {"adversarial", "discriminator"} if TASKS[name].adversarial else set()
    want |= {"flicker"} if TASKS[name].flicker else set()
    want |= {"generator"} if name == "pretrain" else set()
    assert used == want | {"step", "seconds", "loss"}
    assert len(list(tmp_path.glob(f"{name}_*.png"))) == 3
    assert training.network.config.task == ("inversion" if name == "pretrain" else name)


@pytest.mark.parametrize("name", ["pretrain", "mask", "toonify"])
def test_a_killed_training_goes_on_to_the_same_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind a step that was saved, and behind one that was not."""
    steps: dict[str, Any] = {"steps": 5, "pretrain_steps": 5, "save_every_s": 0.0}
    whole = training_of(name, **steps)
    train(whole, Noise(), Noise(2, seed=1), tmp_path / "whole", seed=1)
    want = {n: t.clone() for n, t in whole.network.state_dict().items()}
    take = Training.take_step
    lasting: Any = {}

    def dying(self: Training, data: Any, seed: int) -> dict[str, float]:
        if self.step == 3 and not lasting:
            lasting["died"] = True
            raise KeyboardInterrupt
        if self.step == 2:
            self.config = replace(self.config, save_every_s=1e9)  # the third step is lost
        return take(self, data, seed)

    monkeypatch.setattr(Training, "take_step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(training_of(name, **steps), Noise(), Noise(2, seed=1), tmp_path / "half", seed=1)
    resumed = training_of(name, **steps)
    train(resumed, Noise(), Noise(2, seed=1), tmp_path / "half", seed=1)
    got = resumed.network.state_dict()
    assert all(torch.equal(got[n], want[n]) for n in want)
    tables = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(path.open())]
        for path in (tmp_path / "whole" / f"{name}.csv", tmp_path / "half" / f"{name}.csv")
    ]
    assert [r for r in tables[0] if r["loss"]] == [r for r in tables[1] if r["loss"]]


def test_a_step_that_was_saved_is_not_taken_again(tmp_path: Path) -> None:
    train(training_of("inversion"), Noise(), Noise(2), tmp_path, seed=1)
    again = training_of("inversion")
    again.take_step = None  # type: ignore[assignment,method-assign]
    train(again, Noise(), Noise(2), tmp_path, seed=1)
    assert again.step == 4


class TestLosses:
    def test_codes_are_measured_from_the_average_by_their_length_not_its_square(self) -> None:
        training = training_of("inversion")
        training.network.w_avg.fill_(0.3)
        shown = training.shown(Noise().take([0, 1]), torch.Generator().manual_seed(0))
        found, _ = training.losses(shown, torch.Generator().manual_seed(0))
        training.network.w_avg.fill_(0.0)
        ws = training.network.train().encode_style(shown.face)
        assert found["codes"].item() == pytest.approx(
            1e-3 * float(ws.detach().flatten(1).norm(dim=1).mean()), rel=1e-3
        )

    def test_flicker_counts_in_the_second_half_and_grows(self) -> None:
        training = training_of("toonify", steps=100)
        shown = training.shown(Noise().take([0, 1]), torch.Generator().manual_seed(0))
        values = {}
        for step in (49, 50, 60, 75, 99):
            training.step = step
            found, _ = training.losses(shown, torch.Generator().manual_seed(0))
            values[step] = float(found.get("flicker", torch.tensor(-1.0)))
        assert values[49] == -1 and values[50] == 0
        assert values[60] == pytest.approx(0.4 * values[75], rel=1e-2)
        assert values[99] == pytest.approx(values[75], rel=1e-2) and values[75] > 0

    def test_without_motion_there_is_no_flicker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = training_of("toonify", steps=100)
        training.step = 90
        training.network.eval()
        shown = training.shown(Noise().take([0]), torch.Generator().manual_seed(0))
        flicker = []
        for x in (0.0, 0.2):
            placed = shifted(torch.tensor([x]), torch.zeros(1))
            monkeypatch.setattr(styleganex, "unaligned", lambda *_, p=placed: p)
            found, _ = training.losses(shown, torch.Generator().manual_seed(0))
            flicker.append(float(found["flicker"]))
        assert flicker[0] < 1e-6 < flicker[1]

    def test_identity_is_compared_in_its_own_alignment(self) -> None:
        """Of a turned picture it sees the upright face."""
        seen = []

        def identity(face: Tensor) -> Tensor:
            seen.append(face)
            return torch.nn.functional.normalize(face.flatten(1))

        training = training_of("inversion")
        training.judges = Judges(perceptual=difference, identity=identity)  # type: ignore[arg-type]
        shown = training.shown(Noise().take([0]), torch.Generator().manual_seed(0))
        matrix = torch.tensor([[[0.8, -0.6, 0.0], [0.6, 0.8, 0.0]]])
        placed = Placement(matrix)
        training.compared(placed(shown.wanted), placed(shown.wanted), placed)
        plain = still(1)
        training.compared(shown.wanted, shown.wanted, plain)
        assert (seen[0] - seen[2]).abs().mean() < 0.03
        assert (placed(shown.wanted) - shown.wanted).abs().mean() > 0.1

    def test_what_is_held_out_is_measured_alike_every_time(self) -> None:
        training = training_of("mask")
        kept = {n: t.clone() for n, t in training.network.state_dict().items()}
        first, second = (training.held_out(Noise(3)) for _ in range(2))
        assert first == second > 0
        after = training.network.state_dict()
        assert all(torch.equal(after[n], kept[n]) for n in kept if "num_batches" not in n)


class TestShown:
    @pytest.mark.parametrize(
        ("name", "channels"), [("inversion", 3), ("sketch", 1), ("mask", 4), ("toonify", 3)]
    )
    def test_sizes(self, name: str, channels: int) -> None:
        shown = training_of(name).shown(Noise().take([0, 3]), torch.Generator().manual_seed(0))
        assert shown.seen.shape == (2, channels, SIDE, SIDE)
        assert shown.face.shape == (2, 3, 32, 32) and shown.wanted.shape == (2, 3, SIDE, SIDE)

    def test_labels_give_the_first_codes_and_the_face_the_others(self) -> None:
        training = training_of("mask")
        training.network.eval()
        shown = training.shown(Noise().take([0, 1]), torch.Generator().manual_seed(0))
        _, ws = training.drawn(shown)
        _, other = training.drawn(replace(shown, face=shown.face.flip(0)))
        assert torch.allclose(ws[:, :LAYOUT_CODES], other[:, :LAYOUT_CODES], atol=1e-5)
        assert torch.allclose(ws[:, LAYOUT_CODES:].flip(0), other[:, LAYOUT_CODES:], atol=1e-5)

    def test_large_networks_are_compared_at_what_they_see(self) -> None:
        config = replace(CONFIGS["gpu"], side=40)
        assert config.times == 4 and config.rendered_side == 160
        assert CONFIG.times == 1 and CONFIG.rendered_side == SIDE and CONFIG.aligned == 32

    def test_the_middle_and_reduced_pictures(self) -> None:
        picture = torch.rand(1, 3, 40, 40)
        assert torch.equal(middle(picture), picture[..., 4:36, 4:36])
        assert torch.allclose(resized(picture, 20)[0, :, 0, 0], picture[0, :, :2, :2].mean((1, 2)))


class TestSmall:
    """Networks that begin with nothing and see windows."""

    CONFIG = replace(CONFIG, side=160, small=True, network=replace(CONFIG.network, w_dim=72))

    def training(self, name: str) -> Training:
        torch.manual_seed(1)
        standardiser = Standardiser(62, 72)
        return Training(
            name, self.CONFIG, Judges(perceptual=difference), start=None, own_generator=True,
            standardiser=standardiser,
        )  # fmt: skip

    def test_it_begins_with_the_picture_itself(self) -> None:
        training = self.training("super_resolution")
        training.network.eval()
        shown = training.shown(Large().take([0]), torch.Generator().manual_seed(0))
        assert shown.seen.shape == (1, 3, 96, 96)
        got, _ = training.drawn(shown)
        assert torch.allclose(got, shown.seen, atol=1e-5)

    def test_rates_fall_and_norms_scale_and_shift_alone(self) -> None:
        training = self.training("super_resolution")
        modules = training.network.encoder.modules()
        norm = next(m for m in modules if isinstance(m, torch.nn.BatchNorm2d))
        assert norm.running_mean is not None
        training.steps, rates, kept = 1000, [], []
        for step in (0, 200, 499, 999):
            training.step = step
            training.take_step(Large(), 1)
            rates.append(training.optimiser.param_groups[0]["lr"])
            kept.append(norm.running_mean.clone())
            assert not norm.training
        assert rates[0] < rates[1] == rates[2] and rates[3] < 0.1 * rates[1]
        assert not any(other.any() for other in kept)
        plain, drawn, mapping = (group["lr"] for group in training.optimiser.param_groups)
        assert mapping == pytest.approx(100 * plain) and drawn == pytest.approx(5 * plain)

    def test_half_of_the_styles_are_told(self) -> None:
        training = self.training("mask")
        shown = training.shown(Large().take([0, 1]), torch.Generator().manual_seed(0))
        assert shown.told is not None and shown.told.shape == (1, 72)
        training.network.eval()
        _, ws = training.drawn(shown)
        late = training.network.generator.mapping(shown.told)[0, LAYOUT_CODES:]
        assert torch.allclose(ws[0, LAYOUT_CODES:], late)
        assert not torch.allclose(ws[1, LAYOUT_CODES:], late)
        whole = training.shown(Large().take([0, 1]), torch.Generator(), whole=True)
        assert whole.told is None

    def test_labels_of_what_is_drawn_are_those_it_is_drawn_of(self) -> None:
        """By a parser that takes bright pixels for skin, and others for background."""

        class Brightness(FaceParser):
            def __init__(self) -> None:
                torch.nn.Module.__init__(self)
                self.stride = 16

            def forward(self, image: Tensor, guides: Tensor | None = None) -> Tensor:
                grey = 9 * image.mean(1, keepdim=True)
                return torch.cat([-grey, grey, grey - 99, grey - 99], 1)

        training = self.training("mask")
        training.judges = replace(training.judges, parser=Brightness())
        shown = training.shown(Large().take([0]), torch.Generator().manual_seed(0))
        labels = torch.zeros_like(shown.seen)
        labels[:, 0, :, :80], labels[:, 1, :, 80:] = 1, 1
        right = (2 * labels[:, 1:2] - 1).expand(-1, 3, -1, -1)
        lost = {}
        for name, picture in {"right": right, "wrong": -right}.items():
            drawn = picture.clone().requires_grad_()
            training.drawn = lambda *_, x=drawn: (x, torch.zeros(()))  # type: ignore[method-assign]
            found, _ = training.losses(replace(shown, seen=labels), torch.Generator())
            found["parsed"].backward()
            lost[name] = float(found["parsed"])
            assert drawn.grad is not None and bool(drawn.grad.any())
        assert lost["right"] < 0.1 < 5 < lost["wrong"]

    def test_cartoons_are_learned_of_windows_then_of_whole_pictures(self) -> None:
        training = self.training("toonify")
        training.config, training.steps = replace(self.CONFIG, side=320), 100
        change = round(training.task.whole * training.steps)
        sizes: list[tuple[int, int]] = []
        draw = training.drawn

        def noted(shown: Shown, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
            sizes.append((len(shown.seen), shown.seen.shape[-1]))
            return draw(shown, seen)

        training.drawn = noted  # type: ignore[method-assign]
        for step in (0, change - 1, change, 99):
            training.step = step
            training.take_step(Large(side=320), 1)
        assert sizes == [(2, 160), (2, 160), (1, 320), (1, 320)]

    def test_matrices_of_cartoons_are_turned_by_a_share_of_their_size(self) -> None:
        training = self.training("toonify")
        begin_away_from_nothing(training.network)
        backbone = training.network.encoder.backbone
        weight = next(p for p in backbone.blocks.parameters() if p.ndim == 4)
        before = weight.detach().clone()
        training.step, training.steps = WARM_UP - 1, 10 * WARM_UP
        training.take_step(Large(), 1)
        moved, size = (x.square().mean().sqrt() for x in (weight.detach() - before, before))
        assert float(moved / size) == pytest.approx(training.task.matrices, rel=1e-3)

    def test_a_step_of_each_and_what_is_held_out(self) -> None:
        for name in self.CONFIG.tasks:
            training = self.training(name)
            if name == "edit":
                training.editing = training.begun_vector(Large())
            assert training.take_step(Large(), 1)["loss"] > 0
            assert training.held_out(Large(1)) > 0


def begin_away_from_nothing(network: StyleGANEX) -> None:
    """So that all layers have a gradient."""
    with torch.no_grad():
        for block in network.synthesis.blocks:
            block.torgb.weight.normal_()


class Large(Noise):
    """Of the side of small networks."""

    def __init__(self, count: int = 5, side: int = 160):
        super().__init__(count)
        self.side = side

    def take(self, indices: list[int]) -> Sample:
        size = (self.side, self.side)
        return {
            n: torch.nn.functional.interpolate(t, size=size) if t.ndim == 4 else t
            for n, t in super().take(indices).items()
        }


def test_steps_draw_other_numbers_and_always_the_same() -> None:
    seeds = {step_seed(s, n, k) for s in (1, 2) for n in ("mask", "edit") for k in range(5)}
    assert len(seeds) == 20 and step_seed(1, "mask", 3) == step_seed(1, "mask", 3)


def test_another_task_goes_on_with_the_weights_and_begins_what_is_new() -> None:
    torch.manual_seed(0)
    start = StyleGANEX(CONFIG.of_task("inversion"))
    network = StyleGANEX(CONFIG.of_task("edit"))
    fill(network, start)
    own, given = network.state_dict(), start.state_dict()
    assert all(torch.equal(own[n], given[n]) for n in given)
    with pytest.raises(AssertionError, match="a network without"):
        fill(network, StyleGANEX(replace(CONFIG.of_task("inversion"), w_dim=32)))


def test_the_editing_vector_is_what_a_whole_edit_adds_to_the_codes() -> None:
    class Codes:
        """Codes that are the picture's mean, for both layers."""

        w_avg = torch.zeros(1)

        def encode_style(self, image: Tensor) -> Tensor:
            return image.mean((2, 3))[:, None].expand(-1, 2, -1)

    data = Noise(4)
    data.arrays["image"] = torch.full_like(data.arrays["image"], 100)
    amounts = torch.tensor([0.0, 0.5, 1.0, 1.25])
    data.arrays["amount"] = amounts
    change = (amounts * 40).view(-1, 1, 1, 1)
    data.arrays["target"] = (data.arrays["image"] + change).to(torch.uint8)
    vector = vector_of(Codes(), data, CONFIG, 4)  # type: ignore[arg-type]
    assert vector.shape == (1, 2, 3) and torch.allclose(vector, torch.tensor(40 / 127.5), atol=1e-5)


@pytest.mark.usefixtures("small_world")
def test_a_pack_comes_out_after_all_that_the_task_goes_on_from(tmp_path: Path) -> None:
    request = Request(task="edit", config=CONFIG, steps=2)
    train_styleganex(request, tmp_path / "work", tmp_path / "pack", seed=1, device="cpu")
    manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text())
    assert manifest["training"]["steps"] == 2 and manifest["quality"]["held_out_loss"] > 0
    pack = load_pack(tmp_path / "pack")
    network = pack.build("styleganex")
    assert network.config.task == "edit" and network.config.attention_depth > 0
    vector = pack.table("editing_vector")["editing_w"]
    assert vector.shape == (1, network.config.generator.num_ws, network.config.w_dim)
    assert {p.stem for p in (tmp_path / "work").glob("*.csv")} == {"pretrain", "inversion", "edit"}
    assert len(RenderedPairs(sorted((tmp_path / "work" / "people").glob("blonde*")))) == 4
    # Another training may go on from it.
    again = Request(task="inversion", config=CONFIG, steps=1, start=str(tmp_path / "pack"))
    train_styleganex(again, tmp_path / "more", tmp_path / "other", seed=1, device="cpu")
    assert {p.stem for p in (tmp_path / "more").glob("*.csv")} == {"inversion"}
    assert load_pack(tmp_path / "other").build("styleganex").config.attention_depth == 0


@pytest.mark.usefixtures("small_world")
def test_what_was_trained_before_is_as_long_as_it_was_asked_for(tmp_path: Path) -> None:
    """And no task behind it goes on with it."""
    work = tmp_path / "work"
    for task, steps in (("pretrain", 2), ("inversion", 3)):
        request = Request(task=task, config=CONFIG, steps=steps)
        train_styleganex(request, work, tmp_path / task, seed=1, device="cpu")
    last = {n: (work / f"{n}.csv").read_text().split()[-1] for n in ("pretrain", "inversion")}
    assert {n: int(row.partition(",")[0]) for n, row in last.items()} == {
        "pretrain": 2, "inversion": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "caricature"}, "'caricature' must be one of pretrain"),
        ({"task": "toonify", "pictures": Path("x")}, "learns from pairs"),
        ({"task": "toonify", "config": replace(CONFIG, look="oil")}, "'oil' must be one of cel"),
        ({"task": "mask", "pairs": Path("x")}, "makes its own pairs"),
        ({"task": "edit", "pairs": Path("x"), "pictures": Path("y")}, "exclude each other"),
        ({"task": "pretrain", "generator": "x"}, "without --start"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        Request(**{"config": CONFIG} | changes).check()
