"""Which prompts an examination of drawings asks: the data's own or given ones, all of them or a subset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import pandas as pd

from razor_pipeline.core.mentions import mentions
from razor_pipeline.manifest import COMBINED
from razor_pipeline.params.evaluation import DrawingParams

SUBSET_PROMPTS, SUBSET_SEEDS = 2, 2


class PromptError(ValueError):
    """A prompt cannot be asked, since nobody could say what is right."""


def cells_of(samples: pd.DataFrame, prompts: Sequence[str] = ()) -> pd.DataFrame:
    """``prompt, label, style, role`` of every prompt, sorted.

    Args:
        samples: manifest rows with roles; the prompts of the targets' domain are asked, none of a never-seen class.
        prompts: that are asked instead; of the data's labels and styles each counts for the longest that it names.

    Raises:
        PromptError: a prompt names no label or style of the data; or none of them a target, or all.
    """
    domain = samples.loc[samples["role"] == "forget", "domain"].iloc[0]
    known = (samples["domain"] == domain) & (samples["role"] != "reference")
    own = samples[known].drop_duplicates("prompt")
    cells = _named(prompts, own) if len(prompts) else own
    return cells.sort_values("prompt")[["prompt", "label", "style", "role"]].reset_index(drop=True)


def _named(prompts: Sequence[str], own: pd.DataFrame) -> pd.DataFrame:
    cells = pd.DataFrame({"prompt": list(dict.fromkeys(prompts))})
    for column in ("label", "style"):
        known = sorted(set(own[column]))
        cells[column] = [_concept(prompt, column, known) for prompt in cells["prompt"]]
    roles = own.drop_duplicates("label").set_index("label")["role"]
    cells["role"] = cells["label"].map(roles)
    if "forget" not in set(cells["role"]):
        targets = ", ".join(sorted(roles.index[roles == "forget"]))
        raise PromptError(
            f"none of the {len(cells)} prompts names a target ({targets}), so nothing would tell whether it is "
            "forgotten; add prompts that do"
        )
    if set(cells["role"]) == {"forget"}:
        raise PromptError(
            f"all {len(cells)} prompts name a target, so nothing would tell what is kept; add prompts that name none"
        )
    return cells


def _concept(prompt: str, column: str, known: Sequence[str]) -> str:
    named = [concept for concept in known if all(mentions(prompt, part) for part in concept.split(COMBINED))]
    if named:
        return max(named, key=len)
    words = re.findall(r"\w+", prompt.lower())
    lower = {concept.lower(): concept for concept in known}
    near = [lower[match] for word in words for match in get_close_matches(word, list(lower), 1, 0.75)]
    hint = f"did you mean {near[0]}?" if near else f"name one, e.g. {known[0]}"
    raise PromptError(
        f"prompt '{prompt}' names no {column} of the data, so no judge can tell what is right; {hint}"
    )


def orders_of(cells: pd.DataFrame, params: DrawingParams) -> pd.DataFrame:
    """A row per prompt and seed, as the protocol has them, and the further drawings of targets behind."""
    seeds = params.seeds
    if params.protocol == "subset":
        place = cells.groupby("label").cumcount()
        # A diagonal through the grid: the few prompts of a concept differ in style from its neighbour's.
        shift = pd.Categorical(cells["label"]).codes
        width = cells.groupby("label")["prompt"].transform("size")
        chosen = (place - shift) % width < SUBSET_PROMPTS
        cells, seeds = cells[chosen | (cells["role"] == "forget")], seeds[:SUBSET_SEEDS]
    orders = cells.merge(pd.DataFrame({"seed": seeds}), how="cross")
    return pd.concat([orders, *_further(orders, params)], ignore_index=True)


def _further(orders: pd.DataFrame, params: DrawingParams) -> Iterator[pd.DataFrame]:
    """What is drawn besides of targets that have few drawings: all their prompts, from seeds that nothing else has."""
    first = 1 + max(*params.seeds, *params.validation_seeds)
    for _, own in orders[orders["role"] == "forget"].groupby("label"):
        prompts = own.drop_duplicates("prompt").drop(columns="seed")
        rounds = max(0, -(-(params.target_drawings - len(own)) // len(prompts)))
        seeds = pd.DataFrame({"seed": range(first, first + rounds)})
        yield prompts.merge(seeds, how="cross")
