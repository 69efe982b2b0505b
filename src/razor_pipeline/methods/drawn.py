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
        targets = [forget.target for forget in task.forget]
        asked = [(target, prompt) for target in targets for prompt in task.prompts[target]]
        others = [label for label in task.prompts if label not in targets]
        for place, label in enumerate(others):
            own = task.prompts[label]
            chosen = {own[(place + further) % len(own)] for further in range(KEPT_PROMPTS)}
            asked += [(label, prompt) for prompt in sorted(chosen)]
        self.targets, self.others = targets, others
        self.labels, self.prompts = zip(*asked, strict=True)

    def __call__(self) -> Outcome:
        """Draw and look; a blank drawing shows no concept, but proves no forgetting: it counts as the target."""
        started = time.perf_counter()
        seen = list(self.see(self.prompts))
        self.seconds += time.perf_counter() - started
        each = len(seen) // len(self.prompts)
        labels = [label for label in self.labels for _ in range(each)]
        pairs = list(zip(labels, seen, strict=True))
        return Outcome(
            forget_accuracy=max(_share(pairs, target, (target, "")) for target in self.targets),
            aucs=(),
            retain_accuracy=fmean(_share(pairs, other, (other,)) for other in self.others),
        )


def _share(pairs: Sequence[tuple[str, str]], label: str, counted: tuple[str, ...]) -> float:
    return fmean(name in counted for own, name in pairs if own == label)
