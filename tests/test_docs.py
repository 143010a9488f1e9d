"""README.md and docs/*.md say what is so: commands, files, licences, messages, exit codes."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

from vidhair import cli, errors
from vidhair.checkpoints.known import KNOWN, KnownWeights, find_weights
from vidhair.recipe import load_recipe, parse_override, recipe_names

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
WEIGHTS = PAGES["weights.md"]
OWN_FILES = {"network-snapshot.pkl", "hair_length.npy", "codes.npy"}  # as a reader may call theirs

every_page = pytest.mark.parametrize("page", PAGES)


def block_commands(text: str) -> list[str]:
    """The lines of code blocks that call vidhair."""
    return re.findall(r"^ {4}(vidhair .+)$", text, re.MULTILINE)


def inline_commands(text: str) -> list[str]:
    return re.findall(r"`(vidhair [^`]+)`", text)


def parsed(command: str) -> argparse.Namespace:
    """What the command line makes of a command; SystemExit if nothing."""
    return cli._parser().parse_args(shlex.split(command, comments=True)[1:])


@every_page
def test_commands_in_blocks_are_complete(page: str) -> None:
    for command in block_commands(PAGES[page]):
        options = vars(parsed(command))
        if options["command"] is cli._models_pull:
            find_weights(options["names"])
        if "recipe" in options:
            load_recipe(options["recipe"], dict(map(parse_override, options["settings"])))


@every_page
def test_commands_in_the_text_exist(page: str, capfd: pytest.CaptureFixture[str]) -> None:
    """They may leave out what is required, and say it in capitals."""
    for command in inline_commands(PAGES[page]):
        try:
            options = vars(parsed(command))
        except SystemExit:
            assert "the following arguments are required" in capfd.readouterr().err, command
        else:
            recipe = options.get("recipe", "RECIPE")
            assert recipe in (*recipe_names(), "RECIPE")
            names = options.get("names", ["NAME"])
            assert names == ["NAME"] or find_weights(names)


def test_commands_are_found_and_wrong_ones_refused() -> None:
    """The checks above would pass on pages without any."""
    assert "vidhair models verify sg3" in block_commands(WEIGHTS)
    assert "vidhair doctor" in inline_commands(PAGES["README.md"])
    for wrong in ("vidhair models covert a.pt -o b", "vidhair run a.mp4 -r bald --packs b"):
        with pytest.raises(SystemExit):
            parsed(wrong)


def test_make_calls_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"\$\(BIN\)/(vidhair [^>\\\n]+)", makefile)
    assert "vidhair demo" in commands and len(commands) > 1
    for command in commands:
        find_weights(vars(parsed(command)).get("names", []))


@every_page
def test_files_of_weights_are_in_the_catalogue(page: str) -> None:
    files = set(re.findall(r"[\w.-]+\.(?:pkl|pth?|npy|tflite)\b", PAGES[page]))
    assert files <= {entry.file for entry in KNOWN} | OWN_FILES


@every_page
def test_links_within_the_tree_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert target.startswith("https://") or (folder / target).is_file(), target


# ---- licences

# As bullets: [who publishes](where), of which files: **licence**: terms.
LICENCE = re.compile(r"- \[[^]]+\]\((\S+?)\)(?:, (.+?))?: \*\*(.+?)\*\*: (.+)\.")


def sections(text: str) -> list[str]:
    return re.split(r"^## ", text, flags=re.MULTILINE)


def bullets(section: str) -> list[str]:
    """Each on one line."""
    found = re.findall(r"^- .+(?:\n  \S.*)*", section, re.MULTILINE)
    return [re.sub(r"\s*\n\s*", " ", bullet) for bullet in found]


def as_told(entry: KnownWeights) -> tuple[str, str, str]:
    return entry.source, entry.licence.name, entry.licence.terms


def licences(section: str) -> set[tuple[str, str, str]]:
    """(source, name, terms) of every bullet, all of which must be of a licence."""
    matches = [LICENCE.fullmatch(bullet) for bullet in bullets(section)]
    assert all(matches), bullets(section)
    return {(m[1], m[3], m[4]) for m in matches if m}


def test_all_licences_are_told_and_no_other_ones() -> None:
    assert licences(WEIGHTS) == {as_told(entry) for entry in KNOWN}


def test_a_licence_that_names_a_file_is_of_that_file() -> None:
    told = {entry.file: as_told(entry) for entry in KNOWN}
    named = 0
    for match in map(LICENCE.fullmatch, bullets(WEIGHTS)):
        assert match is not None
        for file in re.findall(r"`(\w[^`]*)`", match[2] or ""):
            assert told[file] == (match[1], match[3], match[4])
            named += 1
    assert named > 5


@pytest.mark.parametrize("section", sections(WEIGHTS), ids=lambda text: text.splitlines()[0])
def test_a_licence_stands_where_its_weights_are_pulled(section: str) -> None:
    if section.startswith("In one minute"):
        return  # all are told further down
    pulled = [n for c in block_commands(section) if " pull " in c for n in parsed(c).names]
    assert {as_told(entry) for entry in find_weights(pulled)} <= licences(section)


def test_addresses_are_those_of_the_catalogue() -> None:
    assert set(re.findall(r"https://[^\s)>]+", WEIGHTS)) <= {entry.source for entry in KNOWN}


# ---- messages


def spoken() -> list[str]:
    """All text in the source, without what is filled in."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "vidhair").rglob("*.py")]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def test_quoted_messages_are_those_of_the_source() -> None:
    texts, quotes = spoken(), re.findall("“(.+?)”", WEIGHTS)
    assert len(quotes) > 10
    assert [q for q in quotes if not any(q in text for text in texts)] == []


def test_exit_codes_are_those_of_the_errors() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.VidhairError)}
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", WEIGHTS, re.MULTILINE)}
    assert told and told <= codes | {cli.LEFT_TO_DO}
