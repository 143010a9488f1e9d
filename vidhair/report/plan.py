"""What a recipe will run, in order: every stage, what it takes, and the passes over the clip."""

from vidhair.flow.graph import makers_of, planned
from vidhair.models.parsers.hair_segmenter import find_segmenter
from vidhair.recipe import Recipe
from vidhair.wiring import Input, Stage, sweeps


def plan_text(recipe: Recipe) -> str:
    """As lines of comments, so that they can stand below the settings of a TOML file."""
    segmenter = find_segmenter(recipe.matte.segmenter)
    stages = planned(makers_of(recipe, bool(segmenter.weights)))
    names = [f"{made.name} → each" if made.each else made.name for made in stages]
    width = max(map(len, names))
    lines = ["# stages (… all frames, ± n neighbours, * made again in every run)"]
    for name, made in zip(names, stages, strict=True):
        mark = " " if made.kept else "*"
        lines.append(f"# {mark}{name:<{width}}  {', '.join(_taken(made)) or 'nothing'}")
    fanned = [made.name for made in stages if made.fanned]
    if fanned:
        lines.append(f"# for each person: {', '.join(fanned)}")
    for index, names in enumerate(sweeps(stages), 1):
        lines.append(f"# pass {index} over the clip: {', '.join(names)}")
    return "\n".join(lines)


def _taken(made: Stage) -> list[str]:
    return [_seen(name, needed) for name, needed in made.values.items()]


def _seen(name: str, needed: Input) -> str:
    if needed.series:
        return f"{name} …"
    if needed.every:
        return f"every {name}"
    if needed.near is None:
        return name
    before, after = needed.near.before, needed.near.after
    if after < 0 or after == before:
        return f"{name} ± {before}"
    return f"{name} − {before} + {after}" if after else f"{name} − {before}"
