"""The face parsers of the BiSeNet kind."""

import torch

from tests.golden.runner import Case, Check, Results, adapter, check_as
from vidhair.checkpoints import encoder_names
from vidhair.checkpoints.official import load_official
from vidhair.models.folding import folded
from vidhair.models.parsers.bisenet import CelebAMaskParser, HairClipParser, magnified


@adapter("bisenet")
def check_celebamask_parser(case: Case) -> Results:
    parser = CelebAMaskParser(labels=case.options["n_classes"]).eval().requires_grad_(False)
    load_official(parser, case.weights("P"), encoder_names.CELEBAMASK_PARSER)
    image = case.tensor("image").permute(0, 3, 1, 2).float() / 255 * 2 - 1
    logits, at_8, at_16 = parser.training_logits(image)
    assert torch.equal(logits, parser(image))
    yield "logits", logits
    stride = int(case.said("logits16_sub", r"::(\d+)", "4"))
    yield "logits16_sub", at_8[:, ::stride]
    yield "logits32_sub", at_16[:, ::stride]
    differing = (logits.argmax(1) != case.tensor("labels")).double().mean()
    yield Check("labels", float(differing), 1 - case.spec["tolerance"]["labels_equal_fraction"])
    yield check_as(case, "logits", "folded", folded(parser)(image))


@adapter("hairclipv2_parsing")
def check_hairclip_parser(case: Case) -> Results:
    parser = HairClipParser(labels=case.options["n_classes"]).eval().requires_grad_(False)
    load_official(parser, case.weights("P"), encoder_names.HAIRCLIP_PARSER)
    logits = parser(case.tensor("x").float())
    yield "logits", logits
    side = int(case.said("logits_big_sub", r"(\d+)x", "1024"))
    stride = int(case.said("logits_big_sub", r"::(\d+)", "64"))
    yield "logits_big_sub", magnified(logits, side)[..., ::stride, ::stride]
    yield check_as(case, "logits", "folded", folded(parser)(case.tensor("x").float()))
