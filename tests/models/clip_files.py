"""Made-up weights of CLIP as OpenAI names and shapes them, and a few merges."""

from torch import Tensor, tensor

from tests.models.tiny import random
from vidhair.models.clip import CLIPConfig, Tokens

MERGES = [("h", "a"), ("i", "r</w>"), ("ha", "ir</w>"), ("l", "o"), ("lo", "n"), ("lon", "g</w>")]
TOKENS = Tokens(MERGES)
TINY = CLIPConfig(
    side=32, patch=16, width=128, layers=2, words=len(TOKENS.number), length=9, text_width=64,
    text_layers=2, embedding=24,
)  # fmt: skip


def official_clip(config: CLIPConfig = TINY) -> dict[str, Tensor]:
    """Random weights as OpenAI names and shapes them."""
    c, found = config, dict[str, Tensor]()

    def made(name: str, *shape: int, size: float = 0.1) -> None:
        found[name] = size * random(*shape, seed=len(found))

    for prefix, width, layers in (
        ("visual.transformer", c.width, c.layers), ("transformer", c.text_width, c.text_layers),
    ):  # fmt: skip
        for k in range(layers):
            block = f"{prefix}.resblocks.{k}"
            made(f"{block}.attn.in_proj_weight", 3 * width, width)
            made(f"{block}.attn.in_proj_bias", 3 * width)
            made(f"{block}.attn.out_proj.weight", width, width)
            made(f"{block}.attn.out_proj.bias", width)
            made(f"{block}.mlp.c_fc.weight", 4 * width, width)
            made(f"{block}.mlp.c_fc.bias", 4 * width)
            made(f"{block}.mlp.c_proj.weight", width, 4 * width)
            made(f"{block}.mlp.c_proj.bias", width)
            for norm in ("ln_1", "ln_2"):
                made(f"{block}.{norm}.weight", width, size=1.0)
                made(f"{block}.{norm}.bias", width)
    for name, width in (("visual.ln_pre", c.width), ("visual.ln_post", c.width),
                        ("ln_final", c.text_width)):  # fmt: skip
        made(f"{name}.weight", width, size=1.0)
        made(f"{name}.bias", width)
    made("visual.conv1.weight", c.width, 3, c.patch, c.patch)
    made("visual.class_embedding", c.width)
    made("visual.positional_embedding", (c.side // c.patch) ** 2 + 1, c.width)
    made("visual.proj", c.width, c.embedding)
    made("token_embedding.weight", c.words, c.text_width, size=1.0)
    made("positional_embedding", c.length, c.text_width)
    made("text_projection", c.text_width, c.embedding)
    return found | {"logit_scale": tensor(4.6)}
