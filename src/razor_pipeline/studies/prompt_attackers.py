"""Attacks by words and by embeddings, which a CLIP has a place for; with those by images.

Shapes: N samples, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import pandas as pd

from razor_pipeline.core.attacks.inversion import inverted_embedding
from razor_pipeline.core.attacks.prompts import (
    DESCRIPTIONS,
    PARAPHRASES,
    Form,
    misspellings,
    name_parts,
    templates,
)
from razor_pipeline.core.cached import FORWARD_BATCH
from razor_pipeline.core.mentions import mentions, renamed
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.studies.attackers import Attacker, Rows, finding

LEADING = "a photo of a "


class PromptAttacker(Attacker[ClipFamily]):
    """Knows how people are described, too, and that any text is an answer; see :class:`Attacker`."""

    @cached_property
    def template(self) -> str:
        """The target's prompt, with a place for any name."""
        return renamed(self.prompts[self.column], self.target, "{name}")

    @cached_property
    def described(self) -> dict[str, str]:
        """What captions say of each class without naming it."""
        return descriptions(self.known[self.known["split"] == "edit"], self.names)

    def attack(self, family: ClipFamily, weights: Collection[str]) -> Rows:
        """All attacks that need the model alone; it is as it was behind each.

        Args:
            family: the model.
            weights: names of the parameters that were edited.
        """
        yield from super().attack(family, weights)
        for kind, forms in self.forms().items():
            for variant, form in forms.items():
                yield finding(kind, self.accuracy(family, [form(name) for name in self.names]), variant)
        yield from self._describe(family)
        yield finding("inversion", self._invert(family))

    def forms(self) -> dict[str, dict[str, Form]]:
        """Attack -> variant -> wording of a name.

        Nothing where a prompt does not hold its label, as where labels are codes: nobody would write those.
        """
        if not all(mentions(prompt, name) for prompt, name in zip(self.prompts, self.names, strict=True)):
            return {}
        return {
            "paraphrase": templates(tuple(text for text in PARAPHRASES if text != self.template)),
            "misspelling": misspellings(self.template),
            "name_part": name_parts(self.template),
        }

    def _describe(self, family: ClipFamily) -> Rows:
        """The looks in place of the name; nothing where the data never describes the target without its name."""
        if self.target not in self.described:
            return
        column = list(self.described).index(self.target)
        unseen = self._asked(family)
        for variant, form in templates(DESCRIPTIONS).items():
            best = family.scores(unseen, [form(text) for text in self.described.values()]).argmax(dim=1)
            yield finding("description", float((best == column).float().mean()), variant)

    def _invert(self, family: ClipFamily) -> float:
        shots = family.batches(self.images.head(max(self.params.shots)), FORWARD_BATCH)
        text_CD = family.embed_prompts(self.prompts)
        others = [c for c in range(len(self.prompts)) if c != self.column]
        scale = float(family.module.logit_scale.exp())
        found = inverted_embedding(
            family.embed_images(shots), text_CD[others], scale, self.params.inversion_steps
        )
        text_CD[self.column] = found
        return self._named(family.embed_images(self._asked(family)) @ text_CD.T)


def descriptions(rows: pd.DataFrame, names: Collection[str]) -> dict[str, str]:
    """Class -> what captions say of it without naming it, less a leading "a photo of a".

    Args:
        rows: manifest rows with captions.
        names: classes; one that no caption describes without its name is left out.
    """
    found = {}
    for name in names:
        own = rows.loc[rows["label"] == name, "caption"]
        unnamed = own[[not mentions(caption, name) for caption in own]]
        if len(unnamed):
            found[name] = str(unnamed.mode().iloc[0]).removeprefix(LEADING)
    return found
