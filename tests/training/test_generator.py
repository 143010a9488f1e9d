import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.small import GENERATOR
from tests.training.world import RECIPE, SIZE, Stopping, made_up_faces
from vidhair.synthetic.params import column_names
from vidhair.training import generator as module
from vidhair.training.dataset import RenderedFaces
from vidhair.training.generator import (
    Distillation,
    Standardiser,
    distill,
    evaluate,
    feature_weight,
    picture_landmarks,
    psnr,
    transform_matrices,
)
from vidhair.training.state import load_state

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = dataclasses.replace(RECIPE.generator, save_every_s=-1)  # after every step
COLUMNS = len(column_names())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_faces(tmp_path_factory.mktemp("faces"))


def faces(shards: Path, *, held_out: bool = False) -> RenderedFaces:
    return RenderedFaces(shards, ("moved",), held_out=held_out)


def run(shards: Path, folder: Path, data: RenderedFaces | None = None) -> Distillation:
    data = data or faces(shards)
    return distill(data, faces(shards, held_out=True), CONFIG, folder, seed=1)


def weights(run: Distillation) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in run.generator.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_phases_follow_one_another() -> None:
    assert CONFIG.steps == 4
    assert [CONFIG.phase(step) for step in range(5)] == [
        (16, 4),
        (16, 4),
        (32, 4),
        (32, 4),
        (32, 4),
    ]


def test_training_goes_through_stops_and_goes_on(shards: Path, tmp_path: Path) -> None:
    """Interrupted in the third step, a run goes on with it; a finished one stays as it is."""
    stopping = Stopping(shards, ("moved",), held_out=False, after=2)
    with pytest.raises(KeyboardInterrupt):
        run(shards, tmp_path, stopping)
    state = load_state(tmp_path / "generator.safetensors")
    assert state is not None
    saved, meta = state
    assert meta["step"] == 2

    rest = Stopping(shards, ("moved",), held_out=False, after=CONFIG.steps)
    done = run(shards, tmp_path, rest)
    assert (done.step, rest.given) == (CONFIG.steps, 2)
    learned = weights(done)
    frozen = "synthesis.input.affine.weight"
    for name in ("synthesis.layers.3.weight", "mapping.layers.0.weight", frozen):
        stayed = torch.equal(learned[name], saved[f"generator.{name}"])
        assert stayed == (name == frozen), name

    again = run(shards, tmp_path, Stopping(shards, ("moved",), held_out=False, after=0))
    assert again.step == CONFIG.steps and same(weights(again), learned)
    assert same(again.average.values, done.average.values)

    rows = [json.loads(line) for line in (tmp_path / "generator.jsonl").read_text().splitlines()]
    measured = [row["held_out_psnr"] for row in rows if "held_out_psnr" in row]
    assert measured and all(-20 < value < 60 for value in measured)


def a_step(run: Distillation, rate: int) -> None:
    generator = torch.Generator().manual_seed(run.step)
    params = torch.randn(2, COLUMNS, generator=generator)
    run.optimisers.set_factor(0.5)
    run.optimisers.zero_grad()
    run.predict(
        params, torch.eye(3).expand(2, 3, 3), rate, torch.float32
    ).square().mean().backward()
    run.optimisers.step()
    run.average.update(run.generator)
    run.step += 1


def test_a_loaded_run_takes_the_same_next_step(tmp_path: Path) -> None:
    """Weights, optimisers, averages and the heads of small pictures are all restored."""
    torch.manual_seed(0)
    first = Distillation(CONFIG, COLUMNS)
    first.standardiser.fit(torch.randn(50, COLUMNS) * 2 + 1)
    for rate in (16, 16, 32):
        a_step(first, rate)
    first.save(tmp_path / "state.safetensors")
    torch.manual_seed(99)
    second = Distillation(CONFIG, COLUMNS)
    assert not same(weights(first), weights(second))
    assert second.load(tmp_path / "state.safetensors")
    for rate in (32, 16):
        a_step(first, rate)
        a_step(second, rate)
    assert first.step == second.step == 5
    assert same(weights(first), weights(second))
    assert same(first.heads.state_dict(), second.heads.state_dict())
    assert same(first.standardiser.state_dict(), second.standardiser.state_dict())
    assert same(first.average.values, second.average.values)
    assert first.average.steps == second.average.steps == 5


def test_there_is_nothing_to_load_at_first(tmp_path: Path) -> None:
    assert not Distillation(CONFIG, COLUMNS).load(tmp_path / "state.safetensors")


def test_measuring_leaves_the_training_as_it_was(shards: Path) -> None:
    torch.manual_seed(0)
    trained, held_out = Distillation(CONFIG, COLUMNS), faces(shards, held_out=True)
    held_out.arrays["matrix"] = transform_matrices(held_out.arrays["transform"])
    a_step(trained, 32)
    before = weights(trained)
    value = evaluate(trained, held_out)
    assert -20 < value < 60
    assert same(weights(trained), before)
    assert {layer.magnitude_beta for layer in trained.generator.synthesis.layers} == {0.995}


def test_it_is_the_average_that_is_measured(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trained, held_out = Distillation(CONFIG, COLUMNS), faces(shards, held_out=True)
    held_out.arrays["matrix"] = transform_matrices(held_out.arrays["transform"])
    trained.average.values["synthesis.layers.14.bias"].fill_(1e6)
    seen = []

    def psnr(got: Any, want: Any) -> float:
        seen.append(got)
        return 0.0

    monkeypatch.setattr(module, "psnr", psnr)
    evaluate(trained, held_out)
    assert all(float(got.min()) > 10 for got in seen)


def test_small_pictures_have_their_rate(shards: Path) -> None:
    run = Distillation(CONFIG, COLUMNS)
    for rate in (16, 32):
        got = run.predict(torch.zeros(1, COLUMNS), torch.eye(3)[None], rate, torch.float32)
        assert got.shape == (1, 3, rate, rate)


def test_standardised_parameters_keep_their_length_readable() -> None:
    standardiser = Standardiser(3, 5)
    params = torch.tensor([[0.0, 10, 5], [2, 30, 5]])
    standardiser.fit(params)
    z = standardiser(params)
    assert z.shape == (2, 5) and torch.equal(z[:, 3:], torch.ones(2, 2))
    torch.testing.assert_close(z[:, :3].mean(0), torch.zeros(3))
    torch.testing.assert_close(z[:, :2].std(0), torch.ones(2))
    assert torch.equal(z[:, 2], torch.zeros(2)), "what never varies is zero"
    with pytest.raises(AssertionError, match="no constant"):
        Standardiser(5, 5)


def test_where_the_features_are_errors_count_four_times(shards: Path) -> None:
    """In an aligned face the eyes lie above the middle and the mouth below it."""
    data = faces(shards, held_out=True).arrays
    still = torch.tensor([[0.0, 0, 0, 1]]).expand(len(data["params"]), 4)
    points = picture_landmarks(data["params"], still)
    assert float(points[:, :2, 1].max()) < 0.56 < float(points[:, 2:4, 1].min())
    assert float(points[:, 0, 0].max()) < 0.5 < float(points[:, 1, 0].min())
    weight = feature_weight(points, still[:, 3], SIZE)
    assert weight.shape == (len(points), 1, SIZE, SIZE)
    assert 3.5 < float(weight.max()) <= 4 and float(weight[..., 0, 0].max()) < 1.01
    eye = (points[:, 0] * SIZE).long()
    assert all(float(w[0, y, x]) > 3 for w, (x, y) in zip(weight, eye, strict=True))


def test_psnr_in_decibels() -> None:
    want = torch.zeros(2, 3, 4, 4)
    assert psnr(want + 0.2, want) == pytest.approx(20)
    assert psnr(want + 2, want) == pytest.approx(0)


def test_the_shipped_recipes_fit_the_faces() -> None:
    assert GENERATOR.z_dim > COLUMNS
    from vidhair.training.pack import RECIPES

    for recipe in RECIPES.values():
        assert recipe.generator.generator.z_dim > COLUMNS
        assert recipe.generator.generator.resolution == recipe.size
        assert recipe.generator.phases[-1][0] == recipe.size
