"""The model card of an edited model: what was done to which model, and what that does not prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from razor_pipeline import __version__

SHOWN_COMPONENTS = 32
TASKS = {
    "clip": "zero-shot-image-classification",
    "vit": "image-classification",
    "diffusion": "text-to-image",
    "diffusion_deep": "text-to-image",
    "diffusion3": "text-to-image",
    "diffusion3_deep": "text-to-image",
    "vlm": "image-text-to-text",
}
# diffusers takes no null for the parts of T5 in model_index.json
WITHOUT_T5 = (
    "diffusers.StableDiffusion3Pipeline.from_pretrained(path, torch_dtype=torch.float32, "
    "text_encoder_3=None, tokenizer_3=None)"
)
# transformers opens text encoders as they are stored, diffusers all else in float32
STABLE_DIFFUSION = "diffusers.StableDiffusionPipeline.from_pretrained(path, torch_dtype=torch.float32)"
OPENED_BY = {
    "clip": "transformers.CLIPModel.from_pretrained(path)",
    "vit": "transformers.ViTForImageClassification.from_pretrained(path)",
    "diffusion": STABLE_DIFFUSION,
    "diffusion_deep": STABLE_DIFFUSION,
    "diffusion3": WITHOUT_T5,
    "diffusion3_deep": WITHOUT_T5,
    "vlm": "transformers.AutoModelForImageTextToText.from_pretrained(path)",
}
LIBRARIES = {name: "diffusers" for name, task in TASKS.items() if task == "text-to-image"}  # or transformers


def model_card(
    origin: Mapping[str, str | None],
    targets: Sequence[str],
    method: str,
    components: Sequence[str],
    seed: int,
    family: str = "clip",
) -> str:
    """README.md of an edited model, with the front matter that the Hugging Face Hub reads.

    Args:
        origin: ``id``, ``revision`` and ``sha256`` of the base model.
        targets: what was to be forgotten; none keeps the names out of a card that is to be published.
        method: name of the unlearning method.
        components: names of the edited components.
        seed: of the run.
        family: model family.
    """
    front = _front_matter(origin, method, family)
    return f"---\n{front}---\n\n{_body(origin, targets, method, components, seed, family)}"


def card_without(
    origin: Mapping[str, str | None], taken_out: str, how: str, kept: Sequence[str], family: str
) -> str:
    """The card of a model that an edit was taken out of: front matter and body.

    Args:
        origin: the model that held it.
        taken_out: id of the request whose edit it was.
        how: ``reverted`` or ``recomposed``.
        kept: ids of the requests whose edits it holds.
        family: name of the model's family.
    """
    opening = f"\n## Opening it\n\n    {OPENED_BY[family]}\n" if family in OPENED_BY else ""
    done = {
        "reverted": "The old weights were written back bit for bit.",
        "recomposed": "Other edits touch the same weights; these are as before it, plus what the others added.",
    }[how]
    return f"""---
{_front_matter(origin, how, family)}---

# A model without the edit of {taken_out}

{origin.get("id")} (sha256 of its weights {origin.get("sha256")}) without the edit of {taken_out}. {done}
What that edit made it forget it knows again, as far as it did before.

Edits that it holds: {", ".join(kept) or "none"}.
{opening}"""


def _front_matter(origin: Mapping[str, str | None], method: str, family: str) -> str:
    fields: dict[str, Any] = {
        "library_name": LIBRARIES.get(family, "transformers"),
        "tags": ["machine-unlearning", method, family],
    }
    if family in TASKS:
        fields["pipeline_tag"] = TASKS[family]
    if origin.get("revision"):  # what comes from the hub is pinned, and nothing else is
        fields |= {"base_model": origin["id"], "base_model_relation": "finetune"}
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text


def _body(
    origin: Mapping[str, str | None],
    targets: Sequence[str],
    method: str,
    components: Sequence[str],
    seed: int,
    family: str,
) -> str:
    opening = f"\n## Opening it\n\n    {OPENED_BY[family]}\n" if family in OPENED_BY else ""
    what = ", ".join(f"“{_plain(target)}”" for target in targets) or "one concept"
    doing = "drawing" if LIBRARIES.get(family) == "diffusers" else "recognising"
    rows = [
        ("Base model", origin.get("id")),
        ("Revision", origin.get("revision")),
        ("sha256 of the base weights", origin.get("sha256")),
        ("Method", f"{method}, razor_pipeline {__version__}"),
        ("Seed", str(seed)),
        ("Edited components", str(len(components))),
    ]
    table = "\n".join(f"| {name} | {_plain(value)} |" for name, value in rows if value)
    rest = len(components) - SHOWN_COMPONENTS
    names = ", ".join(f"`{name}`" for name in components[:SHOWN_COMPONENTS]) + (
        f" and {rest} more" if rest > 0 else ""
    )
    return f"""# A model that was edited to forget {what}

A copy of the base model in which a few components were changed to make it stop {doing} {what}.
Everything else is the base model's, bit for bit, its licence and its known limitations included.

| | |
|---|---|
{table}

Components: {names or "none"}.
{opening}
## What this is evidence of
The report of the run holds the measurements: recognition of the target, of the others and of its near-twin
where there is one, before and after, and after quantization, each with its interval. They are evidence of
what was measured, not proof of erasure. An attack that was not tried, or fine-tuning on images of the target,
may bring traces back. Measure again after every change of the weights, quantization included.

## Undoing it
The weight edit of the run holds the old weights; `kedro edit revert` writes them back bit for bit.
"""


def _plain(value: str | None) -> str:
    """One line that no Markdown table breaks on."""
    return " ".join((value or "").split()).replace("|", "\\|")
