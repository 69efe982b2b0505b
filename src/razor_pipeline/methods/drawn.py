"""What a search sees of a model that draws: what a judge makes of its drawings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

from razor_pipeline.interfaces import See, UnlearningTask
from razor_pipeline.methods.validation import Outcome

KEPT_PROMPTS = 2  # of every other concept; the next concept's differ in what else they name


class DrawnValidation:
    """Has the model as it is draw all prompts of the targets and two of every other concept of their kind.

    Args:
        task: targets and data.
        see: looks at the drawings.

    Attributes:
        seconds: that drawing and looking took so far.
    """

    def __init__(self, task: UnlearningTask, see: See) -> None:
        self.see, self.seconds = see, 0.0
        self.targets = [forget.target for forget in task.forget]
        self.others = [label for label in task.prompts if label not in self.targets]
        own = {label: [cell for cell in task.cells if cell[0] == label] for label in task.prompts}
        self.asked = [cell for target in self.targets for cell in own[target]]
        for place, label in enumerate(self.others):
            turns = range(place, place + min(KEPT_PROMPTS, len(own[label])))
            self.asked += [own[label][turn % len(own[label])] for turn in turns]
        self.prompts = [task.cells[cell] for cell in self.asked]

    def __call__(self) -> Outcome:
        """Draw and look; a blank drawing shows no concept, but proves no forgetting: it counts as the target."""
        started = time.perf_counter()
        seen = list(self.see(self.prompts))
        self.seconds += time.perf_counter() - started
        each = len(seen) // len(self.prompts)
        asked = [cell for cell in self.asked for _ in range(each)]
        pairs = [(own, label) for (own, _), (label, _) in zip(asked, seen, strict=True)]
        styles = [
            own == style for (label, own), (_, style) in zip(asked, seen, strict=True) if label in self.others
        ]
        return Outcome(
            forget_accuracy=max(_share(pairs, target, (target, "")) for target in self.targets),
            aucs=(),
            retain_accuracy=fmean(_share(pairs, other, (other,)) for other in self.others),
            general_accuracy=fmean(styles),
        )


def _share(pairs: Sequence[tuple[str, str]], label: str, counted: tuple[str, ...]) -> float:
    return fmean(name in counted for own, name in pairs if own == label)
