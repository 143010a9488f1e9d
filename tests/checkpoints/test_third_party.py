"""Weight files of others come back as plain data, equal to what was written."""

import argparse
import collections
import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tests.checkpoints.third_party_files import (
    generator_tensors,
    name,
    nvidia_pickle,
    program,
    psp,
    rosinality,
    saved,
    value,
)
from vidhair.checkpoints.third_party import Checkpoint, check_tensors, read_checkpoint
from vidhair.errors import CheckpointUnreadable


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    def read(data: bytes, name: str = "weights") -> Checkpoint:
        path = tmp_path / name
        path.write_bytes(data)
        return read_checkpoint(path)

    return read


def assert_same(got: Any, want: Any) -> None:
    if isinstance(want, torch.Tensor):
        assert got.dtype == want.dtype and got.shape == want.shape
        assert torch.equal(got.double(), want.double()) and not got.requires_grad
    elif isinstance(want, dict):
        assert type(got) is dict and list(got) == list(want)
        for key in want:
            assert_same(got[key], want[key])
    elif isinstance(want, argparse.Namespace):
        assert_same(got, vars(want))
    else:
        assert type(got) is type(want) and got == want


BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class TestTorchFiles:
    @BOTH
    @pytest.mark.parametrize("make", [rosinality, psp])
    def test_generators_and_encoders(
        self, read: Callable[..., Any], make: Callable[..., Any], zipped: bool
    ) -> None:
        checkpoint = read(saved(make(), _use_new_zipfile_serialization=zipped))
        assert checkpoint.format == ("torch zip" if zipped else "torch legacy")
        assert_same(checkpoint.data, make())
        assert not checkpoint.networks

    @BOTH
    def test_every_kind_of_tensor(self, read: Callable[..., Any], zipped: bool) -> None:
        g = torch.Generator().manual_seed(0)
        shared = torch.randn(6, 4, generator=g)
        want = {
            **{str(d): torch.ones(3).to(d) for d in (torch.float16, torch.bfloat16, torch.int8)},
            **{str(d): torch.ones(3).to(d) for d in (torch.float64, torch.int64, torch.uint8)},
            "mask": torch.tensor([True, False]),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
            "strided": shared.t(),
            "window": shared[1:3, ::2],
            "parameter": torch.nn.Parameter(torch.ones(2)),
        }
        got = read(saved(want, _use_new_zipfile_serialization=zipped)).data
        assert_same(got, want)
        assert got["strided"].stride() == shared.t().stride()

    def test_types_that_only_the_zip_format_has(self, read: Callable[..., Any]) -> None:
        want = {"u16": torch.ones(2).to(torch.uint16), "f8": torch.ones(3).to(torch.float8_e5m2)}
        assert_same(read(saved(want)).data, want)

    @BOTH
    @pytest.mark.parametrize("protocol", [2, 4])
    def test_options_and_other_plain_values(
        self, read: Callable[..., Any], zipped: bool, protocol: int
    ) -> None:
        given = {
            "opts": argparse.Namespace(lr=1e-4, nested=argparse.Namespace(a=[1, (2, None)])),
            "paths": pathlib.PurePosixPath("/data/faces"),
            "state": collections.defaultdict(dict, {0: {"step": 3}}),
            "milestones": collections.Counter({10: 1}),
            "set": {1, 2},
            "size": torch.Size([2, 3]),
            "device": torch.device("cuda:1"),
            "dtype": torch.float16,
            "big": 2**70,
            "text": "é\ud800",
            "bytes": b"x" * 300,
            "none": b"",
            "step": np.int64(7),
            "loss": np.float32(0.5),
            "array": np.arange(6, dtype=">f4").reshape(2, 3),
            "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        }
        want = given | {
            "opts": {"lr": 1e-4, "nested": {"a": [1, (2, None)]}},
            "paths": "/data/faces",
            "state": {0: {"step": 3}},
            "milestones": {10: 1},
            "size": (2, 3),
            "device": "cuda:1",
            "step": 7,
            "loss": 0.5,
            "array": torch.arange(6.0).reshape(2, 3),
            "fortran": torch.arange(6).reshape(2, 3),
        }
        data = saved(given, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
        assert_same(read(data).data, want)

    def test_an_optimiser(self, read: Callable[..., Any]) -> None:
        moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}
        group = {"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}
        want = {"state": {0: moments, 1: moments}, "param_groups": [group]}
        assert_same(read(saved(want)).data, want)

    def test_options_that_are_named_like_methods_are_data(self, read: Callable[..., Any]) -> None:
        options = {"__setstate__": "print", "__class__": "x", "__reduce__": None}
        built = name("argparse", "Namespace") + b")\x81" + value(options) + b"b"
        assert read(program(built)).data == options

    def test_a_module_of_torch_saved_whole(self, read: Callable[..., Any]) -> None:
        model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
        checkpoint = read(saved(model))
        assert_same(checkpoint.data, dict(model.state_dict()))
        assert checkpoint.networks[""].class_name.endswith("Sequential")

    def test_what_is_shared_stays_shared(self, read: Callable[..., Any]) -> None:
        weight = torch.ones(4)
        data = read(saved({"a": weight, "b": weight[:2]})).data
        data["a"][0] = 5
        assert data["b"][0] == 5

    def test_the_file_is_left_alone(self, read: Callable[..., Any], tmp_path: Path) -> None:
        written = saved(rosinality())
        read(written).data["latent_avg"].zero_()
        assert (tmp_path / "weights").read_bytes() == written

    @pytest.mark.parametrize("name", ["a.safetensors", "b.mp4", "ü ñ"])
    def test_the_name_of_the_file_does_not_matter(
        self, read: Callable[..., Any], name: str
    ) -> None:
        assert read(saved({"x": 1}), name).format == "torch zip"


class TestPersistencePickles:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_tensors_by_their_paths(self, read: Callable[..., Any], protocol: int) -> None:
        checkpoint = read(nvidia_pickle(protocol))
        assert checkpoint.format == "pickle"
        data = checkpoint.data
        assert list(data) == ["training_set_kwargs", "G", "D", "G_ema", "augment_pipe"]
        assert data["training_set_kwargs"] == {"path": "ffhq.zip", "use_labels": False}
        for key, seed in (("G_ema", 0), ("G", 1)):
            want = generator_tensors(seed)
            assert data[key].keys() == want.keys()
            for path, tensor in want.items():
                assert_same(data[key][path], tensor)

    def test_classes_and_arguments(self, read: Callable[..., Any]) -> None:
        networks = read(nvidia_pickle()).networks
        assert list(networks) == ["G", "D", "G_ema"]
        assert networks["G_ema"].class_name == "Generator"
        assert networks["G_ema"].args == ()
        kwargs = {"z_dim": 8, "img_resolution": 16, "mapping_kwargs": {"num_layers": 1}}
        assert networks["G_ema"].kwargs == kwargs
        assert networks["D"].class_name == "Discriminator"

    def test_the_source_in_the_file_is_not_executed(
        self, read: Callable[..., Any], tmp_path: Path
    ) -> None:
        canary = tmp_path / "executed"
        source = f"import pathlib\npathlib.Path({str(canary)!r}).mkdir()\nclass Generator: pass\n"
        data = nvidia_pickle(source=source)
        assert source.encode() in data
        assert read(data).networks["G"].class_name == "Generator"
        assert not canary.exists()

    def test_storages_that_are_not_aligned(self, read: Callable[..., Any]) -> None:
        for shift in range(8):
            want = torch.arange(40, dtype=torch.float64)  # enough to stay a view of the file
            data = pickle.dumps(["x" * shift, want], 4)
            assert_same(read(data).data[1], want)


class TestSafetensors:
    def test_tensors_and_metadata(self, read: Callable[..., Any]) -> None:
        want = {
            **generator_tensors(),
            "mask": torch.tensor([True, False, True]),
            "empty": torch.zeros(0, 2),
            "count": torch.tensor(2**40),
            "bf": torch.ones(3).bfloat16(),
        }
        checkpoint = read(save(want, {"made": "by hand"}))
        assert checkpoint.format == "safetensors" and checkpoint.metadata == {"made": "by hand"}
        assert checkpoint.data.keys() == want.keys()
        for key, tensor in want.items():
            assert_same(checkpoint.data[key], tensor)


class TestFitness:
    def test_good_tensors_come_back(self) -> None:
        want = generator_tensors() | {"n": torch.tensor(3), "e": torch.zeros(0)}
        shapes = {name: tuple(t.shape) for name, t in want.items()}
        assert check_tensors("x.pt", want, shapes) == want

    @pytest.mark.parametrize(
        ("tensors", "says"),
        [
            ({"w": torch.tensor([1.0, float("nan")])}, "not finite"),
            ({"w": torch.tensor([1.0, float("inf")])}, "not finite"),
            ({"w": torch.tensor([1.0, -float("inf")]).bfloat16()}, "not finite"),
            ({"w": torch.tensor([1.0, float("nan")]).half().expand(3, 2)}, "not finite"),
            ({"w": torch.ones(2, dtype=torch.complex64)}, "complex64"),
            ({"w": torch.ones(2).to(torch.float8_e4m3fn)}, "float8"),
            ({"w": [1.0]}, "not a tensor"),
            ({"w": torch.ones(3)}, "in the shape (3,) instead of (2,)"),
            ({"w": torch.ones(2, 1)}, "in the shape (2, 1)"),
            ({"w": torch.ones(2), "v": torch.ones(2)}, "nothing takes"),
            ({}, "lacks the tensor w"),
        ],
    )
    def test_unfit_tensors_are_refused(self, tensors: dict[str, Any], says: str) -> None:
        with pytest.raises(CheckpointUnreadable) as error:
            check_tensors("faces.pt", tensors, {"w": (2,)})
        message = str(error.value)
        assert message.startswith("faces.pt ") and says in message and "\n" not in message
        assert "; " in message

    def test_what_to_use_instead_is_named(self) -> None:
        with pytest.raises(CheckpointUnreadable, match=r"; use faces-2\.pt$"):
            check_tensors("faces.pt", {}, {"w": (2,)}, "faces-2.pt")


def test_values_are_those_of_pickle() -> None:
    """The pieces that hostile files are made of are well-formed themselves."""
    for thing in (1, -5, 2**40, "a", (1, [2]), {"a": None}):
        assert pickle.loads(b"\x80\x02" + value(thing) + b".") == thing
