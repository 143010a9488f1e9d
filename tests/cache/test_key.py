"""Fingerprints tell apart what differs and nothing else; keys are readable and complete."""

import dataclasses
import hashlib
import json
import math
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidhair.cache import Key, file_fingerprint, fingerprint
from vidhair.errors import CacheUnusable


class Region(Enum):
    HAIR = 1
    SKIN = 2


class Level(IntEnum):
    LOW = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    strength: Any = 1.0
    region: Region = Region.HAIR


@dataclasses.dataclass(frozen=True)
class OtherSettings:
    strength: Any = 1.0
    region: Region = Region.HAIR


class Undecorated(Settings):
    pass


@dataclasses.dataclass
class Mutable:
    strength: float = 1.0


class Point(NamedTuple):
    x: float
    y: float


def same(a: Any, b: Any) -> bool:
    """Equality that tells types apart, bit by bit for floats."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, frozenset | set):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if dataclasses.is_dataclass(a):
        return same(vars(a), vars(b))
    return a == b


def rebuilt(value: Any) -> Any:
    """The same value from new objects, with dicts filled in the opposite order."""
    if isinstance(value, dict):
        return {k: rebuilt(value[k]) for k in reversed(value)}
    if isinstance(value, list | tuple):
        return type(value)(rebuilt(v) for v in value)
    if isinstance(value, set | frozenset):
        return type(value)(sorted(value, key=repr, reverse=True))
    if isinstance(value, np.ndarray):
        return np.array(value, order="F")
    return value


# Few distinct leaves, so that pairs are often equal or nearly so.
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, 2.0, math.inf, math.nan, 5e-324])
    | st.sampled_from(["", "a", "b", "ab", "1", "None", "\ud800", "ä"])
    | st.sampled_from([b"", b"a", b"ab", b"1"])
    | st.sampled_from([Fraction(1), Fraction(1, 2), Region.HAIR, Region.SKIN, Level.LOW])
)
arrays = st.builds(
    lambda dtype, shape: np.arange(math.prod(shape)).reshape(shape).astype(dtype),
    st.sampled_from(["?", "u1", "i1", "<i4", ">i4", "<f2", "<f4", "<c8"]),
    st.sampled_from([(), (1,), (4,), (2, 2), (0, 3), (3, 0)]),
)
values = st.recursive(
    scalars | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(scalars, max_size=3)
        | st.frozensets(scalars, max_size=3)
        | st.dictionaries(st.sampled_from(["", "a", "b", "ab"]), inner, max_size=3)
        | st.builds(Settings, strength=inner)
        | st.builds(OtherSettings, strength=inner)
    ),
    max_leaves=8,
)


class TestFingerprint:
    @given(values, values)
    @settings(max_examples=500, deadline=None)
    def test_equal_exactly_where_values_are_the_same(self, a: Any, b: Any) -> None:
        assert (fingerprint(a) == fingerprint(b)) == same(a, b)

    @given(values)
    @settings(max_examples=200, deadline=None)
    def test_order_and_memory_layout_do_not_matter(self, value: Any) -> None:
        assert fingerprint(rebuilt(value)) == fingerprint(value)

    def test_look_alikes_all_differ(self) -> None:
        alike = [
            1, True, 1.0, "1", b"1", Fraction(1), Level.LOW, np.int64(1), np.float64(1),
            np.array(1), np.array([1]), torch.tensor(1), [1], (1,), {1}, frozenset({1}),
            None, "None", "", b"", [], (), {}, set(), frozenset(), [None], [[]], [()],
            ("ab", "c"), ("a", "bc"), ("abc",), "abc", ["ab", "c"], [["ab"], "c"], {"ab": "c"},
            0.0, -0.0, 0, False, math.nan, "nan", math.inf, Region.HAIR, "Region.HAIR",
            Settings(), OtherSettings(), {"strength": 1.0, "region": Region.HAIR},
        ]  # fmt: skip
        assert len({fingerprint(value) for value in alike}) == len(alike)

    def test_every_nan_is_one_value(self) -> None:
        odd = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]
        assert fingerprint(odd) == fingerprint(math.nan)

    def test_does_not_change_between_runs(self) -> None:
        code = (
            "from vidhair.cache import fingerprint;"
            "print(fingerprint({'a': {'x', 'y', 'z'}, 'b': (1, 2.5, None)}))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout.strip() == fingerprint({"b": (1, 2.5, None), "a": {"z", "y", "x"}})

    def test_known_digests(self) -> None:
        # Pinned: a change of the encoding makes every stored result unreachable.
        known = "7e45ac98f5683cc459fff3b0595486d7612d3f6b756738326c15bd9daa872703"
        assert fingerprint({"strength": 0.5, "colour": "auburn"}) == known

    @pytest.mark.parametrize(
        "change",
        [
            lambda a: a.astype(np.float32),
            lambda a: a.reshape(4, 3),
            lambda a: a.T,
            lambda a: a + 1e-15,
            lambda a: torch.from_numpy(a),
        ],
    )
    def test_arrays_differ_by_dtype_shape_and_content(self, change: Callable[..., Any]) -> None:
        array = np.linspace(0, 1, 12).reshape(3, 4)
        assert fingerprint(change(array)) != fingerprint(array)
        assert fingerprint(array[:, ::1].copy()) == fingerprint(array)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64, torch.bool])
    def test_tensors(self, dtype: torch.dtype) -> None:
        tensor = torch.arange(6).reshape(2, 3).to(dtype)
        assert fingerprint(tensor) == fingerprint(tensor.clone().requires_grad_(dtype.is_complex))
        assert fingerprint(tensor.T) == fingerprint(tensor.T.contiguous())
        assert fingerprint(tensor.T) != fingerprint(tensor)
        assert fingerprint(tensor[0, 1]) != fingerprint(tensor[0, 1:2])
        assert fingerprint(tensor.conj()) == fingerprint(tensor.conj().resolve_conj())
        assert fingerprint(tensor) != fingerprint(torch.ones(2, 3))

    @pytest.mark.parametrize(
        "value",
        [
            lambda: 0, len, object(), int, iter([]), range(3), 1j, bytearray(b"a"),
            Path("weights.pt"), PurePosixPath("a"), Point(1, 2), Mutable(), Undecorated(),
            Settings, np.array([None]), np.array(["a"]), np.ma.array([1.0], mask=[True]),
            np.zeros(2, "f4,i4"), np.longdouble(1), np.datetime64("2020"), np.str_("a"),
            {1: "a"}, {("a",): 1}, {"a": {"b": [len]}}, [Settings(strength=len)],
            torch.eye(2).to_sparse(), torch.empty(2, device="meta"),
        ],
    )  # fmt: skip
    def test_what_has_no_fingerprint_is_refused(self, value: Any) -> None:
        with pytest.raises(CacheUnusable, match=r"has no fingerprint; .*\w"):
            fingerprint(value)

    def test_refusal_says_where(self) -> None:
        with pytest.raises(CacheUnusable, match=r"^value\.edit\[1\] = .*\bPosixPath\b.*file_finge"):
            fingerprint({"edit": [1, Path("mapper.pt")]})

    def test_open_file_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(CacheUnusable):
            fingerprint(file)


class TestFileFingerprint:
    def test_is_sha256_of_the_content_whatever_the_name(self, tmp_path: Path) -> None:
        content = bytes(range(256)) * 5000
        for name in ("a", "b.mp4"):
            (tmp_path / name).write_bytes(content)
            assert file_fingerprint(tmp_path / name) == hashlib.sha256(content).hexdigest()
        assert file_fingerprint(str(tmp_path / "a")) == file_fingerprint(tmp_path / "b.mp4")

    def test_what_is_no_file_is_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "absent", tmp_path / "absent" / "deeper"):
            with pytest.raises(CacheUnusable, match="regular file"):
                file_fingerprint(path)

    def test_unreadable_file_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").touch()

        def refuse(*args: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(CacheUnusable, match="Permission denied"):
            file_fingerprint(tmp_path / "a")


CLIP, PACK = fingerprint("clip"), fingerprint("pack")


def make_key(**changes: Any) -> Key:
    parts: dict[str, Any] = {
        "stage": "smooth",
        "version": 1,
        "config": {"strength": 0.5, "window": 9},
        "inputs": {"styles": CLIP},
        "weights": {"generator": PACK},
    }
    return Key(**{**parts, **changes})


class TestKey:
    @pytest.mark.parametrize(
        "change",
        [
            {"stage": "edit"},
            {"version": 2},
            {"config": {"strength": 0.25, "window": 9}},
            {"config": {"strength": 0.5, "window": 9.0}},
            {"config": {"strength": 0.5}},
            {"inputs": {"styles": PACK}},
            {"inputs": {"codes": CLIP}},
            {"inputs": {}},
            {"weights": {"generator": CLIP}},
            {"inputs": {"generator": PACK}, "weights": {"styles": CLIP}},
        ],
    )
    def test_every_dependency_counts(self, change: dict[str, Any]) -> None:
        key, other = make_key(), make_key(**change)
        assert key != other
        assert len({key.digest, other.digest}) == len({key.text, other.text}) == 2
        assert key.folder != other.folder

    def test_equal_dependencies_make_equal_keys(self) -> None:
        key = make_key()
        other = make_key(config={"window": 9, "strength": 0.5})
        assert key == other and hash(key) == hash(other)
        assert (key.text, key.folder) == (other.text, other.folder)
        assert pickle.loads(pickle.dumps(key)) == key

    def test_keys_with_settings_that_compare_equal_differ(self) -> None:
        assert make_key(config={"on": True}) != make_key(config={"on": 1})

    @given(values, values)
    @settings(max_examples=200, deadline=None)
    def test_text_tells_apart_what_digests_do(self, a: Any, b: Any) -> None:
        key, other = make_key(config={"v": a}), make_key(config={"v": b})
        assert (key.text == other.text) == (key.digest == other.digest) == same(a, b)
        assert json.loads(key.text)["digest"] == key.digest

    def test_text_is_readable(self) -> None:
        config = {"edit": Settings(0.5), "fps": Fraction(30000, 1001), "w": np.zeros((18, 512))}
        text = json.loads(make_key(config=config).text)
        assert text["config"]["edit"] == {"strength": 0.5, "region": "Region.HAIR"}
        assert text["config"]["fps"] == "30000/1001"
        assert text["config"]["w"].startswith("float64[18, 512], ")
        assert text["inputs"] == {"styles": CLIP} and text["stage"] == "smooth"

    def test_later_changes_of_the_settings_do_not_reach_it(self) -> None:
        config = {"windows": [1, 2]}
        key = make_key(config=config)
        before = key.digest, key.text
        config["windows"].append(3)
        config["more"] = [4]
        assert (key.digest, key.text) == before
        assert "more" not in key.config

    def test_setting_without_fingerprint_is_refused_by_name(self) -> None:
        with pytest.raises(CacheUnusable, match=r"^config\.mapper = "):
            make_key(config={"mapper": len})

    def test_folder_is_safe_in_any_file_system(self) -> None:
        assert make_key().folder == f"smooth-v1-{make_key().digest[:16]}"
        for stage in ("", "Smooth", "a/b", "..", "a b", "x" * 41, "con:"):
            with pytest.raises(AssertionError):
                make_key(stage=stage)

    def test_names_are_no_digests(self) -> None:
        for digest in ("clip.mp4", "", CLIP[:-1], CLIP.upper()):
            with pytest.raises(AssertionError, match="not a digest"):
                make_key(inputs={"clip": digest})


def test_import_brings_numpy_and_the_standard_library_only() -> None:
    code = """
import sys, numpy.random, vidhair
before = set(sys.modules)
import vidhair.cache
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(new - set(sys.stdlib_module_names) - {"vidhair", "numpy"})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stdout + run.stderr
