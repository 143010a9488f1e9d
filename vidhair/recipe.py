"""Recipes: which edit is made, with which settings of every stage; one TOML file each."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidhair.edits import EDITS, Edit
from vidhair.errors import InvalidSetting, UnknownRecipe
from vidhair.precision import Precision, resolve
from vidhair.settings import configure, rules
from vidhair.stages.align import AlignConfig
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.encode import EncodeConfig
from vidhair.stages.invert import InvertConfig
from vidhair.stages.matte import MatteConfig
from vidhair.stages.render import RenderConfig
from vidhair.stages.smooth import SmoothConfig
from vidhair.stages.tune import TuneConfig

TABLES: dict[str, type] = {
    "align": AlignConfig,
    "invert": InvertConfig,
    "smooth": SmoothConfig,
    "tune": TuneConfig,
    "render": RenderConfig,
    "matte": MatteConfig,
    "compose": ComposeConfig,
    "encode": EncodeConfig,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete, checked recipe. about: one sentence for people."""

    name: str
    about: str
    edit: Edit
    align: AlignConfig
    invert: InvertConfig
    smooth: SmoothConfig
    tune: TuneConfig
    render: RenderConfig
    matte: MatteConfig
    compose: ComposeConfig
    encode: EncodeConfig

    def override(self, settings: Mapping[str, Any]) -> "Recipe":
        """A copy with `{"stage.key": value}` applied. Raises InvalidSetting."""
        changed: dict[str, dict[str, Any]] = {}
        for path, value in settings.items():
            table, dot, key = path.partition(".")
            if not dot:
                raise InvalidSetting(f"{path!r} names no setting; write stage.key=value")
            changed.setdefault(table, {})[key] = value
        tables = {name: asdict(getattr(self, name)) for name in (*TABLES, "edit")}
        for table, values in changed.items():
            if table not in tables:
                raise InvalidSetting(_unknown_table(table))
            tables[table] |= values
        tables["edit"] = {"kind": self.edit.kind, **tables["edit"]}
        if "kind" in changed.get("edit", {}):
            tables["edit"] = changed["edit"]
        return build(self.name, self.about, tables)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Every setting with its value, by table, in the order of the flow."""
        edit = {"kind": self.edit.kind, **asdict(self.edit)}
        return {
            name: edit if name == "edit" else asdict(getattr(self, name))
            for name in ("align", "invert", "smooth", "tune", "edit", "render", "matte", "compose")
        } | {"encode": asdict(self.encode)}


def build(name: str, about: str, tables: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """Check plain tables and make a recipe of them. Raises InvalidSetting."""
    for table in tables:
        if table != "edit" and table not in TABLES:
            raise InvalidSetting(_unknown_table(table))
    edit = dict(tables.get("edit", {}))
    kind = edit.pop("kind", None)
    if not isinstance(kind, str) or kind not in EDITS:
        raise InvalidSetting(f"edit.kind = {kind!r} must be one of {', '.join(EDITS)}")
    configs: dict[str, Any] = {n: configure(cls, tables.get(n, {}), n) for n, cls in TABLES.items()}
    return Recipe(name=name, about=about, edit=configure(EDITS[kind], edit, "edit"), **configs)


def _unknown_table(table: str) -> str:
    known = ["edit", *TABLES]
    close = difflib.get_close_matches(table, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"there is no stage {table!r}; {hint}"


def recipe_folder() -> Path:
    """Where the recipes lie: beside this module when installed, at the top of a source tree."""
    here = Path(__file__).parent
    installed = here / "pipelines"
    return installed if installed.is_dir() else here.parent / "pipelines"


def recipe_names() -> list[str]:
    return sorted(p.stem for p in recipe_folder().glob("*.toml"))


def load_recipe(name: str | os.PathLike, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name (see `recipe_names`) or from a TOML file, and apply overrides.

    overrides: {"stage.key": value}. Raises UnknownRecipe or InvalidSetting.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = recipe_folder() / f"{name}.toml"
    try:
        data = path.read_bytes()
    except OSError as error:
        known = recipe_names()
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UnknownRecipe(
            f"there is no recipe {str(name)!r}; {hint}give one of {', '.join(known)} "
            "or the path of a .toml file"
        ) from error
    try:
        tables = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path} is not valid TOML ({error}); mend that place") from error
    about = str(tables.pop("about", ""))
    title = str(tables.pop("name", path.stem))
    wrong = [key for key, value in tables.items() if not isinstance(value, dict)]
    if wrong:
        raise InvalidSetting(f"{path}: {wrong[0]!r} must be a table such as [edit]")
    recipe = build(title, about, tables)
    return recipe.override(overrides) if overrides else recipe


def parse_override(text: str) -> tuple[str, Any]:
    """`stage.key=value` as given on the command line. Values are TOML, or plain text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InvalidSetting(f"{text!r} is no setting; write stage.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return path.strip(), parsed


def precisions(recipe: Recipe, device: str) -> dict[str, Precision]:
    """What the layers compute in on a device: "render.precision" and "tune.precision" as set, and
    "probe", which measures what an edit does. Raises InvalidSetting for what cannot work there.
    """
    return {
        "render.precision": resolve(recipe.render.precision, device, "render"),
        "tune.precision": resolve(recipe.tune.precision, device, "tune"),
        "probe": resolve("auto", device, "probe"),
    }


def explain(recipe: Recipe, device: str) -> str:
    """All settings of a recipe with what they mean, and on this device, as TOML."""
    lines = [f"{recipe.name}: {recipe.about}" if recipe.about else recipe.name]
    classes = {**TABLES, "edit": type(recipe.edit)}
    for table, values in recipe.describe().items():
        known = rules(classes[table])
        lines += ["", f"[{table}]"]
        rows = [(k, _toml(v), known[k][1].about if k in known else "") for k, v in values.items()]
        width = max((len(f"{k} = {v}") for k, v, _ in rows), default=0)
        lines += [f"{f'{k} = {v}':<{width}}  # {about}".rstrip(" #") for k, v, about in rows]
    lines.append("")
    for place, decided in precisions(recipe, device).items():
        lines.append(f"# on {device}, {place} is {decided.name}: {decided.note or decided.why}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else f"{value!r}"
