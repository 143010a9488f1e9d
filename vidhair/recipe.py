"""Recipes: which edit is made, with which settings of every stage; one TOML file each."""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidhair.edits import EDITS
from vidhair.edits.edit import Edit
from vidhair.errors import InvalidSetting, UnknownRecipe
from vidhair.precision import Precision, resolve
from vidhair.settings import Curve, configure, rules, values
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


Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete, checked recipe. about: one sentence for people. edits: in the order in which they
    are applied, one at least."""

    name: str
    about: str
    edits: tuple[Edit, ...]
    align: AlignConfig
    invert: InvertConfig
    smooth: SmoothConfig
    tune: TuneConfig
    render: RenderConfig
    matte: MatteConfig
    compose: ComposeConfig
    encode: EncodeConfig

    def places(self) -> list[tuple[str, Edit]]:
        """Every edit with its name in settings and messages."""
        return list(zip(_places(len(self.edits)), self.edits, strict=True))

    def override(self, settings: Mapping[str, Any]) -> "Recipe":
        """A copy with `{"stage.key": value}` applied.

        "edit.2.key" is of the second edit, "edit.key" of the only one that has such a setting.
        Raises InvalidSetting.
        """
        tables: dict[str, Any] = {name: values(getattr(self, name)) for name in TABLES}
        of_edits: dict[str, Any] = {}
        for path, value in settings.items():
            table, dot, key = path.partition(".")
            if not dot:
                raise InvalidSetting(f"{path!r} names no setting; write stage.key=value")
            if table == "edit":
                of_edits[key] = value
            elif table in tables:
                tables[table][key] = value
            else:
                raise InvalidSetting(_unknown_table(table))
        tables["edit"] = _override_edits(self.edits, of_edits)
        return build(self.name, self.about, tables)

    def describe(self) -> dict[str, Any]:
        """Every setting with its value, by table, in the order of the flow. Several edits are a
        list of tables."""
        edits = [_table_of(edit) for edit in self.edits]
        found: dict[str, Any] = {name: values(getattr(self, name)) for name in TABLES}
        found["edit"] = edits if len(edits) > 1 else edits[0]
        order = ("align", "invert", "smooth", "tune", "edit", "render", "matte", "compose")
        return {name: found[name] for name in (*order, "encode")}


def _places(count: int) -> list[str]:
    return ["edit"] if count == 1 else [f"edit.{number}" for number in range(1, count + 1)]


def _table_of(edit: Edit) -> dict[str, Any]:
    return {"kind": edit.kind, **values(edit)}


def _override_edits(edits: Sequence[Edit], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tables of edits with `{"key" or "number.key": value}` applied."""
    named: dict[tuple[int, str], Any] = {}
    open_to_all: dict[str, Any] = {}
    for path, value in settings.items():
        number, dot, key = path.partition(".")
        if not (dot and number.isdecimal()):
            open_to_all[path] = value
        elif 1 <= int(number) <= len(edits):
            named[int(number) - 1, key] = value
        else:
            raise InvalidSetting(
                f"edit.{path}: there is no edit {number}; this recipe has {len(edits)}"
            )
    if len(edits) == 1 and "kind" in open_to_all:
        named[0, "kind"] = open_to_all.pop("kind")
    tables = [
        {"kind": named[index, "kind"]} if (index, "kind") in named else _table_of(edit)
        for index, edit in enumerate(edits)
    ]
    for (index, key), value in named.items():
        tables[index][key] = value
    for key, value in open_to_all.items():
        tables[_edit_with(key, tables)][key] = value
    return tables


def _edit_with(key: str, tables: Sequence[Table]) -> int:
    """The index of the only edit that has a setting."""
    if len(tables) == 1:
        return 0
    known = [{"kind", *rules(EDITS[t["kind"]])} if t["kind"] in EDITS else set() for t in tables]
    having = [index for index, keys in enumerate(known) if key in keys]
    if len(having) == 1:
        return having[0]
    if having:
        places = [f"edit.{index + 1}.{key}" for index in having]
        raise InvalidSetting(
            f"edit.{key} is a setting of several edits; write {' or '.join(places)}"
        )
    close = difflib.get_close_matches(key, sorted(set().union(*known)), n=1)
    hint = f"did you mean edit.{close[0]}?" if close else "write edit.1.key"
    raise InvalidSetting(f"edit.{key} is no setting of any edit here; {hint}")


def build(name: str, about: str, tables: Mapping[str, Any]) -> Recipe:
    """Check plain tables and make a recipe of them. "edit" may be one table, or one for each of
    several edits. Raises InvalidSetting.
    """
    for table in tables:
        if table != "edit" and table not in TABLES:
            raise InvalidSetting(_unknown_table(table))
    given = tables.get("edit", {})
    several = [given] if isinstance(given, Mapping) else given
    edits = tuple(map(_edit, several, _places(len(several))))
    if not edits:
        raise InvalidSetting("edit = [] is no edit; give a recipe one, such as reconstruct")
    configs: dict[str, Any] = {n: configure(cls, tables.get(n, {}), n) for n, cls in TABLES.items()}
    return Recipe(name=name, about=about, edits=edits, **configs)


def _edit(table: Table, place: str) -> Edit:
    settings = dict(table)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in EDITS:
        raise InvalidSetting(f"{place}.kind = {kind!r} must be one of {', '.join(EDITS)}")
    return configure(EDITS[kind], settings, place)


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


def load_recipe(name: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Recipe:
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
    except ValueError as error:  # of TOML, of UTF-8, or of a number with thousands of digits
        raise InvalidSetting(f"{path} is not valid TOML ({error}); mend that place") from error
    about = str(tables.pop("about", ""))
    title = str(tables.pop("name", path.stem))
    for key, value in tables.items():
        listed = key == "edit" and isinstance(value, list)
        if not all(isinstance(table, dict) for table in (value if listed else [value])):
            raise InvalidSetting(f"{path}: {key!r} must be a table such as [{key}]")
    recipe = build(title, about, tables)
    return recipe.override(overrides) if overrides else recipe


def parse_override(text: str) -> tuple[str, Any]:
    """`stage.key=value` as given on the command line. Values are TOML, or plain text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InvalidSetting(f"{text!r} is no setting; write stage.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except ValueError:
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
    for table, found in recipe.describe().items():
        if table != "edit":
            lines += _settings_text(f"[{table}]", found, TABLES[table])
            continue
        title = "[edit]" if len(recipe.edits) == 1 else "[[edit]]"
        for edit in recipe.edits:
            lines += _settings_text(title, _table_of(edit), type(edit))
    lines.append("")
    for place, decided in precisions(recipe, device).items():
        lines.append(f"# on {device}, {place} is {decided.name}: {decided.note or decided.why}")
    return "\n".join(lines)


def _settings_text(title: str, found: Table, config: type) -> list[str]:
    known = rules(config)
    rows = [(k, _toml(v), known[k][1].about if k in known else "") for k, v in found.items()]
    width = max((len(f"{k} = {v}") for k, v, _ in rows), default=0)
    lines = [f"{f'{k} = {v}':<{width}}  # {about}".rstrip(" #") for k, v, about in rows]
    return ["", title, *lines]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Curve):
        return str([list(point) for point in value])
    return f'"{value}"' if isinstance(value, str) else f"{value!r}"
