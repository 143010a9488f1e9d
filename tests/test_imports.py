"""What importing loads, and which way imports point. Read from the source, so nothing escapes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

# Rooms from the lowest to the highest; a room may import those below it and itself.
FLOORS = (
    {"errors", "types", "geometry", "settings", "process", "wiring", "forked"},
    {"ops", "imaging", "kernels", "checkpoints", "cache", "media", "packs"},
    {"models", "precision"},
    {"losses", "metrics", "conversion", "synthetic"},
    {"stages"},
    {"edits"},
    {"recipe"},
    {"flow"},
    {"training", "samples", "report", "bench", "cli", "ui"},
)
# Beside those: the lowest floor is one room, an op and its kernels belong together, bench edits a
# sample, and the command line starts everything.
NEIGHBOURS = {
    *((a, b) for a in FLOORS[0] for b in FLOORS[0]),
    ("ops", "kernels"),
    ("kernels", "ops"),
    ("imaging", "kernels"),
    ("bench", "samples"),
    ("cli", "bench"),
    ("cli", "report"),
    ("cli", "samples"),
    ("cli", "training"),
    ("cli", "ui"),
}
# The only importers of what is heavy or must stay exchangeable, by module prefix.
RESERVED = {
    "ray": ("vidhair.flow.ray",),
    "gradio": ("vidhair.ui",),
    "mediapipe": ("vidhair.models.faces.landmarks",),
    # The latter only looks whether it loads, before MediaPipe does.
    "cv2": ("vidhair.imaging.opencv", "vidhair.models.faces.landmarks"),
    "av": ("vidhair.media",),
    "decord": ("vidhair.media",),
    "ffmpeg": ("vidhair.media",),
    "imageio_ffmpeg": ("vidhair.media",),
    "lpips": ("vidhair.models.perceptual",),
    "torchvision": ("vidhair.models.perceptual",),
    "numba": ("vidhair.kernels",),
    "triton": ("vidhair.kernels",),
}
HEAVY = (
    "numba", "triton", "mediapipe", "av", "decord", "cv2", "ray", "gradio", "lpips", "torchvision",
    "scipy.signal",
)  # fmt: skip

# What is compiled at its first use, and imported no earlier than that.
COMPILED = (
    "._boxes", "._dye", "._grids", "._lines", "._numba", "._gemm", "._patches", "._tiles",
    "._triton", ".kernels.simd",
)  # fmt: skip


def sources() -> dict[str, Path]:
    """Module name → file, of the package and its kernels."""
    found = {}
    for path in [*(ROOT / "vidhair").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        parts = parts if parts[0] == "vidhair" else ["vidhair", *parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, anywhere in it, at run time."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            prefix = ".".join(base) if node.level else ""
            source = ".".join(filter(None, (prefix, node.module)))
            # `from vidhair import stages` imports a room by its name.
            yield from (f"{source}.{a.name}" if source == "vidhair" else source for a in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0]
            # The public door loads names from the homes that it lists; nothing else computes one.
            assert isinstance(name, ast.Constant) or module == "vidhair", module
            if isinstance(name, ast.Constant):
                yield str(name.value)


def room(module: str) -> str:
    """`vidhair.stages.align` → stages."""
    return module.split(".")[1] if "." in module else ""


def floor(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


EDGES = sorted({(m, i) for m, path in sources().items() for i in imports(m, path)})


def test_every_module_is_in_a_known_room() -> None:
    rooms = {room(m) for m in sources()} - {""}
    assert rooms <= set().union(*FLOORS), "give the new room its floor"


def test_imports_point_one_way() -> None:
    wrong = []
    for importer, imported in EDGES:
        a, b = room(importer), room(imported)
        if not imported.startswith("vidhair.") or not a or a == b or b not in set().union(*FLOORS):
            continue  # foreign; the public door of the package; within a room; a public name
        if floor(b) >= floor(a) and (a, b) not in NEIGHBOURS:
            wrong.append(f"{importer} imports {imported}")
    assert not wrong


def test_rendered_faces_are_for_training_and_samples_only() -> None:
    """Of all that is rendered, edits take hair alone."""
    hair = ("vidhair.synthetic.wigs", "vidhair.synthetic.strands")
    users = {room(a) for a, b in EDGES if b.startswith("vidhair.synthetic") and b not in hair}
    assert users <= {"training", "synthetic", "samples"}


@pytest.mark.parametrize("foreign", RESERVED)
def test_foreign_packages_stay_in_their_room(foreign: Any) -> None:
    users = {a for a, b in EDGES if b.split(".")[0] == foreign}
    allowed = RESERVED[foreign]
    assert all(any(f"{u}.".startswith(f"{p}.") for p in allowed) for u in users), users


def test_the_graph_is_read_rightly() -> None:
    """The checks above would pass on an empty graph."""
    assert ("vidhair.stages.align", "vidhair.models.faces.landmarks") in EDGES
    assert ("vidhair.ops.filtered_lrelu", "vidhair.kernels.filtered_lrelu") in EDGES
    assert ("vidhair.models.faces.landmarks", "mediapipe") in EDGES
    assert ("vidhair.kernels.filtered_lrelu._numba", "numba") in EDGES
    assert any(a.startswith("vidhair.media") and b == "av" for a, b in EDGES)


def test_importing_everything_loads_nothing_heavy() -> None:
    modules = [m for m in sources() if not m.endswith(COMPILED)]
    loaded = loaded_after("\n".join(f"import {m}" for m in modules))
    assert "vidhair.stages.align" in loaded and "torch" in loaded
    assert not loaded & set(HEAVY)


def test_importing_vidhair_alone_is_light() -> None:
    loaded = loaded_after("import vidhair")
    assert "vidhair" in loaded and not loaded & {*HEAVY, "torch", "scipy", "PIL"}


def loaded_after(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())
