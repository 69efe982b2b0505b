"""The unlearning task that a table of samples describes."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import torch

from razor_pipeline.core.mentions import mentions
from razor_pipeline.interfaces import ForgetSet, UnlearningTask
from razor_pipeline.manifest import asked_once, prompts_by_label, reference_rows

LEAST_REFERENCE = (
    2  # of one there is no standard deviation (:func:`razor_pipeline.core.losses.shifted_to_auc`)
)


def prompts_by_cell(domain: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(label, style) -> its prompt, the first of several, for the known classes of a domain's rows."""
    known = domain[domain["role"] != "reference"].sort_values("prompt").drop_duplicates(["label", "style"])
    return {
        (label, style): prompt
        for label, style, prompt in zip(known["label"], known["style"], known["prompt"], strict=True)
    }


def forgotten_labels(samples: pd.DataFrame) -> list[str]:
    """The labels that are to be forgotten, sorted."""
    return sorted(set(samples.loc[samples["role"] == "forget", "label"]))


def target_domain(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows of the targets' domain.

    Raises:
        ValueError: the targets belong to several domains.
    """
    domains = sorted(set(samples.loc[samples["role"] == "forget", "domain"]))
    if len(domains) != 1:
        raise ValueError(
            f"the targets belong to {len(domains)} domains ({', '.join(domains)}); "
            "forget those of one domain at a time"
        )
    chosen: pd.DataFrame = samples[samples["domain"] == domains[0]]
    return chosen


def forget_rows(task: UnlearningTask) -> pd.DataFrame:
    """The edit rows of all targets."""
    return pd.concat([part.edit for part in task.forget], ignore_index=True)


def shuffled(rows: pd.DataFrame, generator: torch.Generator) -> pd.DataFrame:
    """The rows in random order."""
    return rows.iloc[torch.randperm(len(rows), generator=generator).tolist()]


def drawn_evenly(rows: pd.DataFrame, generator: torch.Generator) -> pd.DataFrame:
    """The rows in random order, those of each class evenly spread: any first ones hold its share, to one row.

    Few rows stand for what is kept, and a class that a draw leaves out is one that an edit may take along.
    """
    order = shuffled(rows, generator)
    groups = order.groupby(["domain", "label"])
    start = torch.rand(groups.ngroups, generator=generator).numpy()[groups.ngroup()]
    place = (groups.cumcount() + start) / groups["label"].transform("size")
    return order.iloc[place.argsort(kind="stable").to_numpy()]


def unlearning_task(samples: pd.DataFrame, earlier: Collection[str] = ()) -> UnlearningTask:
    """What a method may look at: edit and validation rows, of the test split no more than which prompts there are.

    An image with several captions is learnt from under each, and validated by once.

    Args:
        samples: manifest rows with roles forget, retain and reference.
        earlier: those of the labels to be forgotten that an earlier request has dealt with.

    Raises:
        ValueError: the targets belong to several domains, or too few rows show how a model sees what it never saw.
    """
    edit, validation = (samples[samples["split"] == split] for split in ("edit", "validation"))
    seen = pd.concat([edit, asked_once(validation)])
    domain = target_domain(seen)
    _check_reference(domain)
    retain = seen[seen["role"] == "retain"]
    # Of all classes that the examination knows, also those of which a sample of the rest has no row.
    known = target_domain(samples)
    prompts = prompts_by_label(known[known["role"] != "reference"])
    sets = [_forget_set(domain, label, prompts[label][0]) for label in forgotten_labels(seen)]
    return UnlearningTask(
        forget=tuple(one for one in sets if one.target not in earlier),
        retain=retain[retain["split"] == "edit"],
        retain_validation=domain[(domain["role"] == "retain") & (domain["split"] == "validation")],
        prompts=prompts,
        cells=prompts_by_cell(known),
        earlier=tuple(one for one in sets if one.target in earlier),
    )


def _forget_set(domain: pd.DataFrame, label: str, prompt: str) -> ForgetSet:
    own = domain[domain["label"] == label]
    edit = own[own["split"] == "edit"]
    named = [
        caption if mentions(caption, label) else named
        for caption, named in zip(edit["caption"], edit["prompt"], strict=True)
    ]
    return ForgetSet(
        target=label,
        prompt=prompt,
        edit=edit.assign(caption=named),
        validation=own[own["split"] == "validation"].assign(caption=own["prompt"]),
        reference=reference_rows(domain, "validation").assign(caption=prompt),
    )


def _check_reference(domain: pd.DataFrame) -> None:
    rows = reference_rows(domain, "validation")
    if len(rows) < LEAST_REFERENCE:
        whose = "never-seen" if "reference" in set(rows["role"]) else "other"
        raise ValueError(
            f"the domain '{domain['domain'].iloc[0]}' has {len(rows)} validation images of {whose} classes, and what "
            f"is forgotten is held against how those spread, which takes {LEAST_REFERENCE}; add images of such classes"
        )
