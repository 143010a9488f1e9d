"""Perceptual distances: LPIPS against the package itself, and which one is taken when."""

import shutil
import socket
import urllib.request
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests import small
from tests.tolerances import relative_error
from vidhair.errors import CheckpointUnreadable, InvalidSetting
from vidhair.models.perceptual import (
    BACKBONES,
    LPIPS,
    FeatureDistance,
    LPIPSWeights,
    find_lpips,
    find_perceptual,
    read_lpips,
    weight_folders,
)

pytestmark = pytest.mark.usefixtures("one_thread")

NETS = tuple(BACKBONES)
PACK = {"parser": "0" * 64}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails the test."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("something wants to use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def pictures(seed: int, *, count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=draw) * 2 - 1


def pixels(image: Tensor) -> list[Tensor]:
    pooled = torch.nn.functional.avg_pool2d(image, 2)
    return [torch.cat([image, image**2], 1), pooled + 2]


@pytest.fixture(scope="module", params=["features", *NETS])
def distance(request: pytest.FixtureRequest) -> Any:
    """Every implementation."""
    if request.param == "features":
        return FeatureDistance(pixels)
    return LPIPS(read_lpips(small.classifier(request.param)))


class TestEveryDistance:
    def test_zero_for_equal_pictures_symmetric_and_positive_otherwise(self, distance: Any) -> None:
        a, b = pictures(0), pictures(1)
        assert distance(a, a) == 0 and distance(a, b) > 1e-3
        torch.testing.assert_close(distance(a, b), distance(b, a))

    def test_following_the_gradient_brings_pictures_together(self, distance: Any) -> None:
        got, want = pictures(0).requires_grad_(), pictures(1)
        before = distance(got, want, torch.ones(2, 1, 64, 64))
        (gradient,) = torch.autograd.grad(before, got)
        step = got.detach() - 0.01 * gradient / gradient.abs().mean()
        assert distance(step, want) < before

    @pytest.mark.parametrize("size", [(64, 64), (33, 80)])
    def test_a_mask_of_ones_is_no_mask(self, distance: Any, size: tuple[int, int]) -> None:
        got, want = (pictures(seed, height=size[0], width=size[1]) for seed in (0, 1))
        full = distance(got, want, torch.ones(2, 1, *size))
        torch.testing.assert_close(full, distance(got, want), rtol=1e-5, atol=1e-6)

    def test_where_the_mask_is_differences_count(self, distance: Any) -> None:
        want = pictures(0, height=96, width=192)
        got, mask = want.clone(), torch.zeros(2, 1, 96, 192)
        got[..., :48] = -got[..., :48]
        mask[..., :48] = 1
        assert distance(got, want, mask) > 1.5 * distance(got, want)
        assert distance(got, want, mask.flip(3)) < 0.5 * distance(got, want)
        assert distance(got, want, mask * 0) == 0

    def test_the_batch_is_the_mean_of_its_pictures(self, distance: Any) -> None:
        a, b = pictures(0), pictures(1)
        alone = torch.stack([distance(a[i : i + 1], b[i : i + 1]) for i in range(2)])
        assert alone[0] != alone[1]
        torch.testing.assert_close(distance(a, b), alone.mean())


def test_features_are_compared_by_their_directions() -> None:
    image = pictures(0)
    single = FeatureDistance(lambda x: [x])
    assert single(image, image * 0.5) == pytest.approx(0, abs=1e-5)
    assert single(image, -image) == pytest.approx(4, abs=1e-3)
    layers = FeatureDistance(lambda x: [x, x.abs()])
    assert layers(image, -image) == pytest.approx(2, abs=1e-3)


def test_the_mask_of_features_of_single_pixels_leaves_the_outside_out() -> None:
    single = FeatureDistance(lambda x: [x])
    got, want, mask = pictures(0), pictures(0), torch.zeros(2, 1, 64, 64)
    mask[..., :32] = 1
    got[..., 32:] = -got[..., 32:]
    assert single(got, want, mask) == pytest.approx(0, abs=1e-6)
    assert single(got, want, 1 - mask) == pytest.approx(4, abs=1e-3)


# ---- LPIPS


@pytest.fixture(scope="module", params=NETS)
def pair(request: pytest.FixtureRequest) -> tuple[LPIPS, Any]:
    """Ours, and the package's own with the same convolutions, put in by their order."""
    import lpips

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net=request.param, pnet_rand=True, verbose=False)
    ordered = iter(small.convolutions(request.param).values())
    for module in theirs.net.modules():
        if isinstance(module, torch.nn.Conv2d):
            for parameter in module.parameters():
                parameter.data.copy_(next(ordered))
    assert next(ordered, None) is None
    return LPIPS(read_lpips(small.classifier(request.param))), theirs


def same(ours: LPIPS, theirs: Any, got: Tensor, want: Tensor) -> bool:
    """Whether the values and the gradients agree."""
    got = got.clone().requires_grad_()
    a, b = ours(got, want), theirs(got, want).mean()
    slopes = [torch.autograd.grad(value, got)[0] for value in (a, b)]
    return relative_error(a, b) < 1e-5 and relative_error(slopes[0], slopes[1]) < 1e-4


@pytest.mark.parametrize("size", [(64, 64), (37, 90)])
def test_lpips_is_the_packages(pair: Any, size: tuple[int, int]) -> None:
    got, want = (pictures(seed, height=size[0], width=size[1]) for seed in (0, 1))
    ours, theirs = pair
    assert same(ours, theirs, got, want)


def test_positions_without_features_are_alike(pair: Any) -> None:
    """As the package has it: in the last layer no feature is left anywhere."""
    ours, theirs = deepcopy(pair)
    for model in (ours.model, theirs):
        (*_, last) = (m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d))
        last.get_parameter("bias").data.fill_(-1e4)
    got, want = pictures(0), pictures(1)
    assert ours(got, want) < pair[0](got, want)
    assert same(ours, theirs, got, want)


def test_lpips_of_one_picture_is_the_packages(pair: Any) -> None:
    ours, theirs = pair
    got, want = pictures(2, count=3), pictures(3, count=3)
    want_each = theirs(got, want).flatten()
    for i in range(3):
        assert relative_error(ours(got[i : i + 1], want[i : i + 1]), want_each[i]) < 1e-5


@pytest.mark.parametrize("net", NETS)
def test_the_table_of_convolutions_is_torchvisions(net: str) -> None:
    import torchvision

    with torch.device("meta"):
        model = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net]()
    state = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    assert {n: s for n, s in state.items() if "classifier" not in n} == BACKBONES[net].shapes
    weights = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}[net]
    url = getattr(torchvision.models, weights).IMAGENET1K_V1.url
    assert url.rpartition("/")[2] == BACKBONES[net].file


def test_building_draws_nothing_at_random_and_learns_nothing() -> None:
    state = torch.get_rng_state()
    distance = LPIPS(read_lpips(small.classifier()))
    assert torch.equal(torch.get_rng_state(), state)
    assert not distance.model.training
    assert not any(p.requires_grad or p.is_meta for p in distance.model.parameters())


# ---- files


def test_every_format_holds_the_same_weights(tmp_path: Path) -> None:
    weights = small.convolutions("alex")
    torch.save(weights, tmp_path / "zip.pth")
    torch.save(weights, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(dict(weights), tmp_path / "plain.safetensors")
    want = read_lpips(small.classifier())
    for path in tmp_path.iterdir():
        found = read_lpips(path)
        assert (found.net, found.path) == ("alex", path)
        assert found.convolutions.keys() == want.convolutions.keys() == weights.keys()
        assert found.fingerprint == want.fingerprint


def test_the_net_is_known_from_the_file() -> None:
    found = {net: read_lpips(small.classifier(net)) for net in NETS}
    assert all(weights.net == net for net, weights in found.items())
    assert len({weights.fingerprint for weights in found.values()}) == len(NETS)


def broken(change: str) -> Any:
    weights: dict[str, Any] = dict(small.convolutions("alex"))
    if change == "lacks":
        del weights["features.6.bias"]
    elif change == "besides":
        weights["features.1.weight"] = torch.ones(3)
    elif change == "other":
        weights["fc.weight"] = torch.ones(3)
    elif change == "shape":
        weights["features.6.bias"] = torch.ones(3)
    elif change == "nan":
        weights["features.6.bias"] = torch.full((384,), float("nan"))
    elif change == "text":
        weights["features.6.bias"] = "none"
    return {"list": list(weights.values()), "number": {3: torch.ones(3)}}.get(change, weights)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("lacks", "lacks the tensor"),
        ("besides", "features.1.weight"),
        ("other", "fc.weight"),
        ("shape", r"\(3,\) instead of \(384,\)"),
        ("nan", "not finite"),
        ("text", "not a tensor"),
        ("list", "no tensors by name"),
        ("number", "lacks the tensor"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: str, says: str) -> None:
    path = tmp_path / "a.pth"
    torch.save(broken(change), path)
    with pytest.raises(CheckpointUnreadable, match=says) as error:
        read_lpips(path, ("alex",))
    assert str(error.value).startswith(f"{path} ") and "\n" not in str(error.value)
    assert change in ("nan", "text") or "alexnet-owt-7be5be79.pth" in str(error.value)


def test_the_other_net_is_refused() -> None:
    with pytest.raises(CheckpointUnreadable, match=r"use vgg16-397923af.pth of torchvision"):
        read_lpips(small.classifier("alex"), ("vgg",))


# ---- which one


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders without weights."""
    found = tmp_path / "own", tmp_path / "cache"
    for folder in found:
        folder.mkdir()
    return found


def decide(
    choice: str = "auto", path: Path | str = "", folders: tuple[Path, ...] | None = ()
) -> Any:
    return find_perceptual(choice, str(path), lambda: pixels, PACK, folders=folders)


def path_of(found: LPIPSWeights | None) -> Path:
    assert found is not None
    return found.path


def put(net: str, folder: Path) -> Path:
    return Path(shutil.copy(small.classifier(net), folder))


def test_the_pack_where_there_are_no_weights(folders: Any) -> None:
    asked = []

    def net() -> Any:
        asked.append(1)
        return pixels

    found = find_perceptual("auto", "", net, PACK, folders=folders)
    assert found.weights == PACK and not asked, "the net is loaded on first use"
    assert "the pack's parser" in found.about and "models pull lpips-alex" in found.about
    assert found.build() == FeatureDistance(pixels) and asked == [1]


def test_lpips_where_there_are_weights(folders: Any) -> None:
    path = put("alex", folders[1])
    found = decide(folders=folders)
    assert found.weights == {"lpips_alex": read_lpips(path).fingerprint}
    assert "LPIPS on AlexNet" in found.about and str(path) in found.about
    built, a, b = found.build(), pictures(0), pictures(1)
    assert isinstance(built, LPIPS)
    assert torch.equal(built(a, b), LPIPS(read_lpips(small.classifier()))(a, b))
    assert decide("lpips_alex", folders=folders).weights == found.weights


def test_the_first_net_and_the_first_folder_are_preferred(folders: Any) -> None:
    vgg = put("vgg", folders[0])
    assert path_of(find_lpips(folders=folders)) == vgg
    alex = put("alex", folders[1])
    assert path_of(find_lpips(folders=folders)) == alex
    assert path_of(find_lpips(("vgg",), folders)) == vgg
    nearer = put("alex", folders[0])
    assert path_of(find_lpips(folders=folders)) == nearer


def test_the_pack_when_it_is_asked_for(folders: Any) -> None:
    put("alex", folders[0])
    found = decide("pack", folders=folders)
    assert found.weights == PACK and "as tune.perceptual asks" in found.about
    with pytest.raises(InvalidSetting, match=r"not used with tune\.perceptual = 'pack'"):
        decide("pack", small.classifier())


@pytest.mark.parametrize("net", NETS)
def test_lpips_that_is_asked_for_must_be_there(folders: Any, net: str) -> None:
    put({"alex": "vgg", "vgg": "alex"}[net], folders[0])
    with pytest.raises(CheckpointUnreadable) as error:
        decide(f"lpips_{net}", folders=folders)
    said = str(error.value)
    assert BACKBONES[net].file in said and all(str(folder) in said for folder in folders)
    assert f"models pull lpips-{net}" in said and "tune.perceptual_weights" in said


def test_a_path_goes_before_the_folders(folders: Any) -> None:
    put("alex", folders[0])
    assert list(decide("auto", small.classifier("vgg"), folders).weights) == ["lpips_vgg"]
    with pytest.raises(CheckpointUnreadable, match=r"no\.pth cannot be read"):
        decide("auto", folders[0] / "no.pth", folders)
    with pytest.raises(CheckpointUnreadable, match="use alexnet"):
        decide("lpips_alex", small.classifier("vgg"), folders)


def test_a_damaged_file_is_no_reason_to_take_another(folders: Any) -> None:
    path = put("alex", folders[0])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointUnreadable, match="alexnet-owt"):
        decide(folders=folders)


def test_where_weights_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VIDHAIR_WEIGHTS", str(tmp_path / "own"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    assert weight_folders() == (tmp_path / "own", cache)
    monkeypatch.delenv("VIDHAIR_WEIGHTS")
    assert weight_folders() == (Path.home() / ".local/share/vidhair/weights", cache)
    cache.mkdir(parents=True)
    put("alex", cache)
    assert list(decide(folders=None).weights) == ["lpips_alex"]
