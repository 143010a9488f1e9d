import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from vidhair.edits import (
    Attribute,
    Bald,
    Fringe,
    HairColor,
    HairColorLatent,
    HairLength,
    Reconstruct,
    Volume,
    Wave,
)
from vidhair.errors import InvalidSetting, UnknownRecipe
from vidhair.recipe import (
    TABLES,
    explain,
    load_recipe,
    parse_override,
    recipe_folder,
    recipe_names,
)
from vidhair.settings import Curve, rules

KINDS = {
    "attribute": Attribute,
    "bald": Bald,
    "fringe": Fringe,
    "hair_color": HairColor,
    "hair_color_latent": HairColorLatent,
    "hair_length": HairLength,
    "reconstruct": Reconstruct,
    "volume": Volume,
    "wave": Wave,
}


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(match: str, name: str | Path, overrides: Any = None) -> None:
    with pytest.raises(InvalidSetting, match=match) as caught:
        load_recipe(name, overrides)
    assert "\n" not in str(caught.value)


def test_every_file_in_pipelines_is_a_recipe_by_its_name() -> None:
    files = list((Path(__file__).parents[1] / "pipelines").glob("*.toml"))
    assert recipe_folder() == files[0].parent
    assert recipe_names() == sorted(f.stem for f in files)
    assert set(KINDS) <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_and_say_what_they_do(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about.endswith(".") and len(recipe.about) > 20
    assert isinstance(recipe.edits[0], KINDS.get(name, object))


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_keep_what_their_file_says(name: str) -> None:
    data = tomllib.loads((recipe_folder() / f"{name}.toml").read_text())
    described = load_recipe(name).describe()
    for table in set(data) - {"about", "name"}:
        wanted, got = data[table], described[table]
        pairs = zip(wanted, got, strict=True) if isinstance(wanted, list) else [(wanted, got)]
        assert all(some.items() <= all_of_it.items() for some, all_of_it in pairs)


def test_an_unknown_recipe_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownRecipe) as caught:
        load_recipe("hair_colour")
    message = str(caught.value)
    assert "'hair_colour'" in message and "did you mean hair_color?" in message
    assert all(name in message for name in recipe_names())
    with pytest.raises(UnknownRecipe) as caught:
        load_recipe("zzz")
    assert "did you mean" not in str(caught.value) and "reconstruct" in str(caught.value)


def test_a_missing_file_is_an_unknown_recipe(tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match=r"absent\.toml"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UnknownRecipe, match=r"folder\.toml"):
        load_recipe(tmp_path / "folder.toml")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        about = "Mine."
        [edit]
        kind = "hair_color"
        color = "#ff0080"
        strength = 0.5
        [smooth]
        latents = false
        [tune]
        steps = 7
        """,
    )
    recipe = load_recipe(path)
    assert (recipe.name, recipe.about) == ("mine", "Mine.")
    assert recipe.edits == (HairColor(color="#ff0080", strength=0.5),)
    assert recipe.smooth.latents is False and recipe.smooth.transforms is True
    assert recipe.tune.steps == 7
    plain = load_recipe("hair_color")
    assert (recipe.align, recipe.render, recipe.matte) == (plain.align, plain.render, plain.matte)
    assert load_recipe(str(path)) == recipe


STACK = """
[[edit]]
kind = "attribute"
name = "smile"
strength = [[0, 0], [1.5, 1]]
[[edit]]
kind = "hair_color"
color = "blonde"
"""
SMILE = Attribute(name="smile", strength=Curve([(0.0, 0.0), (1.5, 1.0)]))


@pytest.fixture
def stack(tmp_path: Path) -> Any:
    return written(tmp_path, STACK)


def test_several_edits_keep_their_order(stack: Any) -> None:
    recipe = load_recipe(stack)
    assert recipe.edits == (SMILE, HairColor(color="blonde"))
    assert [place for place, _ in recipe.places()] == ["edit.1", "edit.2"]
    assert [place for place, _ in load_recipe("bald").places()] == ["edit"]
    assert load_recipe(stack, {"tune.steps": 3}).edits == recipe.edits


def test_a_setting_is_of_the_only_edit_that_has_it_or_of_the_numbered_one(stack: Any) -> None:
    first, second = load_recipe(stack, {"edit.color": "red", "edit.name": "yaw"}).edits
    assert first == Attribute(name="yaw", strength=SMILE.strength)
    assert second == HairColor(color="red")
    first, second = load_recipe(stack, {"edit.2.strength": 0.5, "edit.1.name": "yaw"}).edits
    assert first == Attribute(name="yaw", strength=SMILE.strength)
    assert second == HairColor(color="blonde", strength=0.5)
    assert load_recipe("bald", {"edit.1.strength": 0.5}).edits == (Bald(strength=0.5),)


def test_another_kind_of_one_edit_leaves_the_others(stack: Any) -> None:
    first, second = load_recipe(stack, {"edit.2.kind": "bald", "edit.2.strength": 0.5}).edits
    assert (first, second) == (SMILE, Bald(strength=0.5))
    assert load_recipe(stack, {"edit.1.kind": "bald"}).edits == (Bald(), HairColor(color="blonde"))
    assert load_recipe("bald", {"edit.1.kind": "reconstruct"}).edits == (Reconstruct(),)
    both = load_recipe(stack, {"edit.amount": 0.25, "edit.1.kind": "hair_length"})
    assert both.edits[0] == HairLength(amount=0.25)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("edit.strength", "several edits; write edit.1.strength or edit.2.strength"),
        ("edit.kind", "several edits; write edit.1.kind or edit.2.kind"),
        ("edit.colour", r"edit\.colour is no setting of any edit here; did you mean edit\.color\?"),
        ("edit.zzz", r"no setting of any edit here; write edit\.1\.key"),
        ("edit.3.strength", r"edit\.3\.strength: there is no edit 3; this recipe has 2"),
        ("edit.0.strength", "there is no edit 0"),
        ("edit.1", r"edit\.1 is no setting"),
        ("edit.1.color", r"edit\.1\.color is no setting; edit\.1 has name, strength"),
        ("edit.2.colour", r"edit\.2\.colour is no setting; did you mean edit\.2\.color"),
        ("edit.2.kind", r"edit\.2\.kind = 7 must be one of"),
    ],
)
def test_what_no_edit_of_several_has_is_refused_with_the_place(
    stack: Any, path: str, message: str
) -> None:
    refused(message, stack, {path: 7})


def test_a_curve_from_the_command_line() -> None:
    recipe = load_recipe("bald", dict([parse_override("edit.strength=[[0, 0], [1.5, 1.0]]")]))
    assert recipe.edits == (Bald(strength=Curve([(0.0, 0.0), (1.5, 1.0)])),)
    assert recipe.override({"tune.steps": 1}).edits == recipe.edits
    assert json.loads(json.dumps(recipe.describe()["edit"]))["strength"] == [[0, 0], [1.5, 1]]


def test_a_stack_and_its_curves_are_printed_as_a_recipe(stack: Any, tmp_path: Path) -> None:
    recipe = load_recipe(stack)
    text = explain(recipe, "cpu")
    assert "strength = [[0.0, 0.0], [1.5, 1.0]]  # change, in units of the attribute" in text
    assert text.index('kind = "attribute"') < text.index('kind = "hair_color"')
    again = load_recipe(written(tmp_path, text.partition("\n")[2], "again.toml"))
    assert again.edits == recipe.edits
    assert [table["kind"] for table in recipe.describe()["edit"]] == ["attribute", "hair_color"]


def test_a_file_may_name_itself(tmp_path: Path) -> None:
    text = 'name = "fire"\n[edit]\nkind = "bald"\n'
    assert load_recipe(written(tmp_path, text)).name == "fire"


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    plain = load_recipe("hair_color")
    edit: Any = plain.edits[0]
    changed = load_recipe("hair_color", {"edit.color": "blue", "tune.steps": 3})
    assert changed.edits == (HairColor(color="blue", strength=edit.strength),)
    assert asdict(changed.tune) == asdict(plain.tune) | {"steps": 3}
    assert (changed.name, changed.about) == (plain.name, plain.about)
    same = ("align", "invert", "render", "matte", "compose", "encode")
    assert all(getattr(changed, name) == getattr(plain, name) for name in same)
    assert plain == load_recipe("hair_color")


def test_overrides_follow_one_another() -> None:
    once = load_recipe("bald", {"edit.strength": 0.5, "compose.feather": 0.1})
    twice = once.override({"edit.strength": 0.7})
    assert twice.edits == (Bald(strength=0.7),) and twice.compose.feather == 0.1
    assert twice.compose.region == "hair"


def test_another_kind_of_edit_takes_none_of_the_old_ones_settings() -> None:
    changed = load_recipe("hair_color", {"edit.kind": "bald"})
    assert changed.edits == (Bald(),) and changed.compose.mode == "residual"
    changed = load_recipe("hair_color", {"edit.strength": 0.4, "edit.kind": "attribute"})
    assert changed.edits == (Attribute(strength=0.4),)
    refused("edit.color is no setting", "hair_color", {"edit.kind": "bald", "edit.color": "red"})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("smoth.latents", True, "there is no stage 'smoth'; did you mean smooth"),
        ("edits.color", "red", "there is no stage 'edits'; did you mean edit"),
        ("zzz.latents", True, "there is no stage 'zzz'; there are edit, align"),
        ("smooth.latent", True, r"smooth\.latent is no setting; did you mean smooth\.latents\?"),
        ("edit.colour", "red", r"edit\.colour is no setting; did you mean edit\.color\?"),
        ("tune.zzz", 1, r"tune\.zzz is no setting; tune has steps, refine_steps"),
        ("tune.steps.more", 1, r"tune\.steps\.more is no setting"),
        ("steps", 3, "'steps' names no setting; write stage.key=value"),
        ("tune.steps", "3", r"tune\.steps = '3' must be a whole number"),
        ("tune.steps", 2.5, r"tune\.steps = 2\.5 must be a whole number"),
        ("tune.steps", -1, r"tune\.steps = -1 is outside 0 … 20000"),
        ("tune.steps", None, r"tune\.steps = None must be"),
        ("smooth.latents", "yes", r"smooth\.latents = 'yes' must be true or false"),
        ("render.expand", True, r"render\.expand = True must be a number"),
        ("render.expand", float("nan"), r"render\.expand = nan is outside"),
        ("compose.mode", "glue", r"compose\.mode = 'glue' must be one of residual, replace"),
        ("edit.color", 3, r"edit\.color = 3 must be a text"),
        ("edit.kind", "haircut", r"edit\.kind = 'haircut' must be one of hair_color"),
        ("edit.kind", None, r"edit\.kind = None must be one of"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(path: str, value: Any, message: str) -> None:
    refused(message, "hair_color", {path: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[edit\nkind = 3", r"mine\.toml is not valid TOML .*line 1.*mend that place"),
        ('[edit]\nkind = "bald"\nkind = "bald"', "is not valid TOML"),
        (f"[edit]\nstrength = {'1' * 5000}", "is not valid TOML"),
        ("edit = 3", "'edit' must be a table such as"),
        ('kind = "bald"', "'kind' must be a table such as"),
        ("edit = [3]", "'edit' must be a table such as"),
        ("edit = []", r"edit = \[\] is no edit; give a recipe one"),
        ("[[tune]]\nsteps = 3", r"'tune' must be a table such as \[tune\]"),
        ('[[edit]]\nkind = "bald"\n[[edit]]', "edit.2.kind = None must be one of"),
        ("", "edit.kind = None must be one of"),
        ("[edit]\nstrength = 1.0", "edit.kind = None must be one of"),
        ('[edit]\nkind = "bald"\n[smoth]\nlatents = true', "no stage 'smoth'; did you mean smooth"),
        ('[edit]\nkind = "bald"\nstrenght = 1', "did you mean edit.strength"),
        ('[edit]\nkind = "bald"\n[align.more]\na = 1', "align.more is no setting"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    refused(message, written(tmp_path, text))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    refused("mine.toml", path)


def test_a_kind_that_is_a_list(tmp_path: Path) -> None:
    refused("edit.kind", written(tmp_path, '[edit]\nkind = ["bald"]'))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tune.steps=3", ("tune.steps", 3)),
        ("edit.strength=0.5", ("edit.strength", 0.5)),
        ("smooth.latents=false", ("smooth.latents", False)),
        ("edit.color=auburn", ("edit.color", "auburn")),
        ('edit.color="auburn"', ("edit.color", "auburn")),
        ("edit.color=dark brown", ("edit.color", "dark brown")),
        ("edit.color=#8a4b2d", ("edit.color", "#8a4b2d")),
        ("edit.color=my hair=red.png", ("edit.color", "my hair=red.png")),
        (" edit.color = blue ", ("edit.color", "blue")),
        ("edit.color=", ("edit.color", "")),
    ],
)
def test_overrides_from_the_command_line(text: str, expected: tuple[str, float | str]) -> None:
    path, value = parse_override(text)
    assert (path, value) == expected and type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["", "tune.steps", "=3", " = 3", "tune.steps:3"])
def test_what_is_no_override(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"write stage\.key=value"):
        parse_override(text)


@pytest.mark.parametrize("name", recipe_names())
def test_explain_mentions_every_stage_and_setting_with_its_meaning(name: str) -> None:
    recipe = load_recipe(name)
    text = explain(recipe, "cpu")
    assert text.splitlines()[0] == f"{name}: {recipe.about}"
    tables = [(f"[{table}]", cls) for table, cls in TABLES.items()]
    edits = [("[[edit]]" if len(recipe.edits) > 1 else "[edit]", type(e)) for e in recipe.edits]
    for title, cls in tables + edits:
        number = edits.index((title, cls)) + 1 if (title, cls) in edits else 1
        section = text.split(f"\n{title}\n")[number].split("\n\n")[0]
        for key, (_, rule) in rules(cls).items():
            assert any(
                line.startswith(f"{key} = ") and line.endswith(f"# {rule.about}")
                for line in section.splitlines()
            ), key


@pytest.mark.parametrize("name", recipe_names())
def test_what_explain_prints_is_a_recipe_again(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name, {"tune.steps": 11, "smooth.latents": False})
    tables = "\n".join(explain(recipe, "cpu").splitlines()[1:])
    again = load_recipe(written(tmp_path, tables))
    assert again.describe() == recipe.describe()
    assert again.tune.steps == 11 and again.smooth.latents is False


def test_explain_follows_the_flow() -> None:
    tables = list(load_recipe("hair_color").describe())
    assert tables == [
        "align", "invert", "smooth", "tune", "edit", "render", "matte", "compose", "encode",
    ]  # fmt: skip
