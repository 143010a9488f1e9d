"""What only tests reach is wired into the product, or belongs to the tests."""

import ast
from collections.abc import Iterator
from functools import cache

import vidhair
from tests.test_imports import sources

# Modules and definitions that nothing in the product calls, by the reason for which they stay.
AWAITED = {
    "golden numbers check the published form, and clips need another": (
        "vidhair.edits.blending.blend",
        "vidhair.edits.blending.blend_proxy",
        "vidhair.edits.blending.color_mask",
        "vidhair.edits.hair_losses.hair_colour_loss",
        "vidhair.edits.hair_losses.lab",
        "vidhair.edits.hair_losses.linear_to_xyz",
        "vidhair.edits.hair_losses.masked_mean",
        "vidhair.edits.hair_losses.prior_loss",
    ),
    "comparing clips with what they should be will": ("vidhair.metrics",),
    "they stand beside what the product calls: both steps at once, of a file": (
        "vidhair.metrics.hair.measure_recoloring",
        "vidhair.synthetic.render.render",
        "vidhair.synthetic.toon.render_toon",
    ),
    "packs of these networks are to come, and golden numbers check them already": (
        "vidhair.models.generators.stylegan1",
        "vidhair.models.styleganex.network.load_styleganex",
        "vidhair.checkpoints.official.load_official",
    ),
    "golden numbers check the published form, of which the flow needs another": (
        "vidhair.geometry.eye_rotation_deg",
        "vidhair.models.parsers.bisenet.magnified",
        "vidhair.ops.upfirdn2d.downsample2d",
        "vidhair.ops.upfirdn2d.filter2d",
        "vidhair.report.pictures",
    ),
}  # fmt: skip
FOUND_BY_NAME = ("vidhair.kernels.", "vidhair.bench.")  # ops find kernels so, bench its suites

NO_USE = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
TREES = {module: ast.parse(path.read_text()) for module, path in sources().items()}
Place = tuple[str, str]  # (module, name in it; none for the module itself)


@cache
def definitions(module: str) -> dict[str, ast.stmt]:
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name: node for node in TREES[module].body if isinstance(node, kinds)}


@cache
def imported(module: str) -> dict[str, Place]:
    """What names of a module stand for."""
    found: dict[str, Place] = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                place = (inner, "") if inner in TREES else (node.module, alias.name)
                found[alias.asname or alias.name] = place
    return found


def home(place: Place) -> Place:
    """Where a name is defined that other modules hand on."""
    module, name = place
    while module in TREES and name not in definitions(module) and name in imported(module):
        module, name = imported(module)[name]
    return module, name


def used(module: str, code: ast.AST) -> Iterator[Place]:
    """What some code of a module names."""
    for node in ast.walk(code):
        if isinstance(node, ast.Name):
            yield home((module, node.id))
        elif isinstance(node, ast.Attribute):
            owner, name = imported(module).get(ast.unparse(node.value), ("", ""))
            if owner and not name:
                yield home((owner, node.attr))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield home((module, node.value))  # an annotation in quotes


def is_export_list(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


@cache
def unreached() -> dict[str, str]:
    """Definition → its module, of all that the commands, the public names, and what modules say
    outside of definitions do not lead to."""
    found = {("vidhair.cli", "main"), *((m, name) for name, m in vidhair._HOMES.items())}
    pending: list[tuple[str, ast.AST]] = [(m, definitions(m)[name]) for m, name in sorted(found)]
    for module, tree in TREES.items():
        pending += [
            (module, node)
            for node in tree.body
            if module.startswith(FOUND_BY_NAME)
            or not (isinstance(node, NO_USE) or is_export_list(node))
        ]
    while pending:
        module, code = pending.pop()
        for owner, name in set(used(module, code)) - found:
            found.add((owner, name))
            if owner in TREES and name in definitions(owner):
                pending.append((owner, definitions(owner)[name]))
    return {
        f"{module}.{name}": module
        for module in TREES
        for name in definitions(module)
        if (module, name) not in found
        and not module.startswith(FOUND_BY_NAME)
        and not name.startswith("__")
    }


def test_the_product_reaches_what_it_holds() -> None:
    allowed = {place for places in AWAITED.values() for place in places}
    left = {name for name, module in unreached().items() if not {name, module} & allowed}
    assert not left, "wire it in, or move it to the tests"


def test_what_is_reached_by_now_is_awaited_no_longer() -> None:
    missing = {name for name, module in unreached().items()} | set(unreached().values())
    assert {place for places in AWAITED.values() for place in places} <= missing


def test_the_graph_is_read_rightly() -> None:
    """The checks above would pass on a graph in which everything is reached."""
    lost = unreached()
    assert "vidhair.edits.blending.blend" in lost
    for name in (
        "stages.residual.add_residual", "edits.recolor.solve_hair_color", "media.reader.open_clip",
        "report.plan.plan_text", "models.pack.Pack", "cache.store.DiskStore",
    ):  # fmt: skip
        module, _, short = f"vidhair.{name}".rpartition(".")
        assert short in definitions(module) and f"vidhair.{name}" not in lost
