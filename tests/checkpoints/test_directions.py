"""Directions come out of .npy files as they went in; nothing else does."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.official_files import one_sentence
from vidhair.checkpoints.directions import (
    LONGEST,
    MAGIC,
    is_direction,
    read_direction,
    read_directions,
)
from vidhair.errors import CheckpointUnreadable

ROW = np.linspace(-2, 3, 512, dtype=np.float32)


def npy(array: NDArray[Any], version: tuple[int, int] | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, **options)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "age boundary.npy"


def read(path: Path, data: bytes) -> torch.Tensor:
    path.write_bytes(data)
    assert is_direction(path)
    return read_direction(path)


def refused(path: Path, data: bytes, *says: str) -> None:
    with pytest.raises(CheckpointUnreadable) as error:
        read(path, data)
    one_sentence(error, path, *says)


@pytest.mark.parametrize("shape", [(512,), (1, 512), (512, 1), (1, 1, 512)], ids=str)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "f2"])
def test_a_row_of_numbers(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    row = ROW.astype(dtype)
    got = read(path, npy(row.reshape(shape)))
    assert got.dtype == torch.float32 and got.shape == (512,)
    assert torch.equal(got, torch.from_numpy(row.astype(np.float32)))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(path: Path, version: tuple[int, int]) -> None:
    assert torch.equal(read(path, npy(ROW, version)), torch.from_numpy(ROW))


@pytest.mark.parametrize("length", [2, LONGEST])
def test_lengths(path: Path, length: int) -> None:
    assert len(read(path, npy(np.ones(length)))) == length


def test_the_file_is_left_alone(path: Path) -> None:
    data = npy(ROW)
    read(path, data).zero_()
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((2, 512)), "(2, 512)"),
        (np.ones((18, 512)), "(18, 512), not one row"),
        (np.ones(()), "shape ()"),
        (np.ones(1), "(1,)"),
        (np.ones((1,) * 20 + (5,)), "1, 5), not one row"),
        (np.ones(LONGEST + 1), str(LONGEST + 1)),
        (np.ones(512, int), "<i8"),
        (np.ones(512, complex), "<c16"),
        (np.ones(512, bool), "|b1"),
        (np.array(["a", "b"]), "<U1"),
        (np.ones(3, [("x", "f4"), ("y", "f4")]), "descr"),
        (np.ones(3, np.longdouble), "<f16"),
        (np.zeros(512), "zero"),
        (np.array([1, np.nan]), "not finite"),
        (np.array([1, -np.inf]), "not finite"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_arrays_that_are_no_direction(path: Path, array: NDArray[Any], says: str) -> None:
    refused(path, npy(array), says)


def test_a_number_that_float32_does_not_hold(path: Path) -> None:
    refused(path, npy(np.array([1, 1e300])), "not finite")


def test_an_array_of_nothing(path: Path) -> None:
    refused(path, npy(np.ones(0)))


class Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def test_objects_are_not_unpickled(path: Path, tmp_path: Path) -> None:
    array = np.array([Hostile(tmp_path / "executed")], object)
    refused(path, npy(array, allow_pickle=True), "|O")
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "executed")))
    assert not is_direction(path)
    with pytest.raises(CheckpointUnreadable):
        read_direction(path)
    assert not (tmp_path / "executed").exists()


def with_header(text: bytes, body: bytes = bytes(2048)) -> bytes:
    return MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text + body


HEADERS = {
    "not closed": b"{'descr': '<f4', 'fortran_order': False, 'shape': (512,",
    "no table": b"[1, 2]",
    "nothing": b"",
    "other keys": b"{'descr': '<f4'}",
    "calls": b"{'descr': '<f4', 'fortran_order': False, 'shape': (len('ab'),)}",
    "of Python 2": b"{'descr': '<f4', 'fortran_order': False, 'shape': (513L,)}",
    "digits": b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}" % (b"1" * 9000),
    "negative": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-512,)}",
    "huge": b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,)}",
    "beyond": b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}" % 10**40,
    "many": b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}" % (b"1," * 90),
    "no type": b"{'descr': 'q99', 'fortran_order': False, 'shape': (512,)}",
    "odd type": b"{'descr': [('a', '<f4', 3.5)], 'fortran_order': False, 'shape': (2,)}",
    "truth": b"{'descr': '<f4', 'fortran_order': 3, 'shape': (512,)}",
    "nested": b"(" * 3000,
    "deep": b"{'descr': " + b"[" * 150 + b"]" * 150 + b", 'fortran_order': False, 'shape': (2,)}",
    "minus": b"-" * 9000 + b"1",
    "no text": bytes(range(128, 256)),
    "lines": b"{'descr': '<f4',\n'fortran_order': False,\n'shape': \n",
    "nul": b"{'descr': '<f4', 'fortran_order': False, 'shape': (\0)}",
    "long": b" " * 20000 + b"{}",
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_lie(path: Path, header: str) -> None:
    refused(path, with_header(HEADERS[header]))


def test_headers_of_other_writers(path: Path) -> None:
    for shape in (b"(512L,)", b"(1L, 512L)", b"(512,)", b"( 512, 1 )"):
        for end in (b"}", b", }", b", }  \n"):
            header = b"{'descr': '<f4', 'fortran_order': True, 'shape': %s%s" % (shape, end)
            assert len(read(path, with_header(header, ROW.tobytes()))) == 512


def test_files_cut_short_or_too_long(path: Path) -> None:
    data = npy(ROW)
    for length in [*range(len(MAGIC), 132), len(data) // 2, len(data) - 1]:
        refused(path, data[:length])
    for more in (1, 4, 1 << 20):
        refused(path, data + bytes(more), "for 512 numbers")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent\n.npy"):
        with pytest.raises(CheckpointUnreadable) as error:
            read_direction(path)
        one_sentence(error, "cannot be read")


class TestRecognition:
    def test_by_its_first_bytes(self, path: Path) -> None:
        path = path.with_suffix(".pt")
        path.write_bytes(npy(ROW))
        assert is_direction(path)

    @pytest.mark.parametrize("data", [b"", b"\x93NUMP", b"PK\3\4", b"{}"])
    def test_other_files(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        assert not is_direction(path)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        assert not is_direction(tmp_path)
        assert not is_direction(tmp_path / "absent")
        assert not is_direction(Path("a\0b"))

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert not is_direction(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["age.npy", "archive/data.pkl"])
def test_an_archive_of_numpys_is_refused_and_never_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "age.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(CheckpointUnreadable, match=r"age\.npz holds"):
        read_directions(tmp_path / "age.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
