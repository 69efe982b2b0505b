"""The image-caption manifest: its columns, and what is refused. Pure: tables in, tables out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from razor_pipeline.atelier.questions import CATEGORIES
from razor_pipeline.params.base import composed
from razor_pipeline.params.data import DataParams

COLUMNS = (
    "sample_id",
    "image_bytes",
    "image_path",
    "image_offset",
    "image_size",
    "caption",
    "prompt",
    "label",
    "style",
    "domain",
    "split",
    "role",
    "near_twin",
    "facts",
    "sha256",
)
# Where an image lies; sha256 says which it is.
PLACES = ("image_bytes", "image_path", "image_offset", "image_size")
TEXTS = ("label", "style", "caption", "prompt", "near_twin")  # what concepts are named in
SPLITS = ("edit", "validation", "test")
ROLES = ("retain", "reference")
COMBINED = " in "  # between an object and a style that are asked for together
EXAMPLES = 3
logger = logging.getLogger(__name__)
NO_REFERENCE = (
    "Not checked: whether the target's images still look familiar to the model. That takes classes which it never saw "
    "(data.reference_labels), and the data names none."
)


class DataError(ValueError):
    """The image-caption pairs cannot be used; the message is one sentence with the fix."""


class QuarantineError(DataError):
    """Too many files cannot be used.

    Attributes:
        quarantine: all of them, ``image_path, reason``.
        written: where they are listed, once somebody has written them down.
    """

    def __init__(self, message: str, quarantine: pd.DataFrame) -> None:
        super().__init__(message)
        self.quarantine = quarantine
        self.written: Path | None = None

    def __str__(self) -> str:
        """The sentence, and where the whole list is."""
        return f"{super().__str__()}{f'; all are listed in {self.written}' if self.written else ''}"


def complete(rows: pd.DataFrame, params: DataParams) -> pd.DataFrame:
    """A listing with what it leaves out filled in: label, captions, style, domain, role. Accents get one spelling.

    Args:
        rows: ``sample_id`` and a ``caption`` or a ``label``; every other column of text is optional.
        params: domain, caption template, reference labels.

    Raises:
        DataError: a caption or label is blank, a role is unknown, or a reference label is not in the data.
    """
    rows = rows.copy()
    for name, text in rows.select_dtypes(["object", "string"]).items():
        rows[name] = text.map(lambda value: value.strip() if isinstance(value, str) else value)
    for name in rows.columns.intersection(list(TEXTS)):
        rows[name] = rows[name].map(lambda value: composed(value) if isinstance(value, str) else value)
    if "label" not in rows:
        rows["label"], rows["prompt"] = rows["caption"], rows.get("prompt", rows["caption"])
        logger.warning(
            "The data has no column label, so each of its %d captions is a class of its own; what requests name is a "
            "whole caption.",
            rows["caption"].nunique(),
        )
    _refuse_blank(rows, "label")
    rows["style"] = rows["style"].fillna("") if "style" in rows else ""
    named = [
        params.caption_template.format(label=label, style=style)
        for label, style in zip(rows["label"], rows["style"], strict=True)
    ]
    for name in ("prompt", "caption"):
        rows[name] = rows.get(name, named)
        _refuse_blank(rows, name)
    defaults = {"near_twin": "", "facts": "", "domain": params.domain, "role": "retain"}
    for name, default in defaults.items():
        rows[name] = rows[name].fillna(default) if name in rows else default
    refuse_values(rows, "role", ROLES)
    _refuse_bad_facts(rows)
    _refuse_unknown_labels(params.reference_labels, set(rows["label"]))
    rows.loc[rows["label"].isin(params.reference_labels), "role"] = "reference"
    return rows


def _refuse_bad_facts(rows: pd.DataFrame) -> None:
    """Raise where facts are no JSON object of texts; tell of categories that no question asks about."""
    given = rows[rows["facts"] != ""]
    categories: set[str] = set()
    for name, text in zip(given["sample_id"], given["facts"], strict=True):
        try:
            found = json.loads(text)
        except (TypeError, ValueError):
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise DataError(
                f"the facts of '{name}' are {text!r}; write a JSON object of texts, category -> answer, e.g. "
                '{"glasses": "round glasses"}'
            )
        categories |= found.keys()
    if unasked := sorted(categories - CATEGORIES):
        logger.warning(
            "No question asks about %s, so these facts are not used; what is asked about: %s.",
            ", ".join(unasked),
            ", ".join(sorted(CATEGORIES)),
        )


def manifest_sha256(manifest: pd.DataFrame) -> str:
    """What a result that was drawn from the manifest depends on: every row but where its image lies, in any order."""
    rows = manifest.drop(columns=[name for name in PLACES if name in manifest]).sort_values("sample_id")
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def arranged(rows: pd.DataFrame, data: DataParams) -> pd.DataFrame:
    """The rows with what requests name as their label: the style, or object and style together.

    Raises:
        DataError: styles are asked for, and rows have none; or one prompt names several labels.
    """
    if data.concept != "label":
        _refuse_blank(
            rows, "style", f", or set data.concept=label (it is {data.concept}) where requests name classes"
        )
    if data.concept == "style":
        rows = rows.assign(label=rows["style"], style=rows["label"], near_twin="")
    if data.concept == "combination":
        pairs = zip(rows["label"], rows["style"], strict=True)
        rows = rows.assign(label=[COMBINED.join(pair) for pair in pairs], near_twin="")
    rows = captioned(rows, data)
    _refuse_shared_prompts(rows)
    return rows


def captioned(rows: pd.DataFrame, data: DataParams) -> pd.DataFrame:
    """The rows with their labels as captions where a model classifies or answers."""
    if data.captions == "class":
        classes = rows["label"]
        return rows.assign(style="", caption=classes, prompt=classes, near_twin="")
    if data.captions == "answer":
        return rows.assign(caption=rows["label"], prompt=rows["label"])
    return rows


def without_duplicates(rows: pd.DataFrame) -> pd.DataFrame:
    """Each image once per class, caption and given split; what is dropped is counted in a warning."""
    key = [name for name in ("sha256", "domain", "label", "caption", "split") if name in rows]
    twice = rows.duplicated(key)
    if twice.any():
        example = rows.loc[twice, "sample_id"].iloc[0]
        logger.warning("%d exact duplicates were dropped, e.g. %s.", int(twice.sum()), example)
    return rows[~twice]


def check_manifest(rows: pd.DataFrame) -> pd.DataFrame:
    """The manifest in its columns and order.

    A row's image lies in ``image_bytes``, or in ``image_size`` bytes of the file ``image_path``, from
    ``image_offset`` on.

    Raises:
        DataError: it is empty, an image is in two splits, or a reference row is there to edit with.
    """
    if rows.empty:
        raise DataError("no image is left; check data.path")
    splits = rows.groupby("sha256")["split"].nunique()
    leaked = rows[rows["sha256"].isin(splits.index[splits > 1])]
    if len(leaked):
        pair = leaked[leaked["sha256"] == leaked["sha256"].iloc[0]].drop_duplicates("split")
        places = " and ".join(f"{row.sample_id} ({row.split})" for row in pair.itertuples())
        raise DataError(
            f"{leaked['sha256'].nunique()} images are in more than one split, e.g. {places}; keep one of each"
        )
    seen = rows[(rows["role"] == "reference") & (rows["split"] == "edit")]
    if len(seen):
        raise DataError(
            f"{len(seen)} reference rows have the split edit, e.g. {seen['sample_id'].iloc[0]}; the base "
            "model never saw reference classes: give them validation or test"
        )
    rows = rows.copy()
    rows["image_path"] = rows["image_path"].fillna("") if "image_path" in rows else ""
    for name in ("image_offset", "image_size"):  # 0 where a row holds its image
        rows[name] = rows[name].fillna(0).astype("int64") if name in rows else 0
    return rows[list(COLUMNS)].reset_index(drop=True)


def check_quarantine(quarantine: pd.DataFrame, total: int, max_share: float, what: str = "images") -> None:
    """Warn of what was refused.

    Raises:
        QuarantineError: they are more than ``max_share`` of all.
    """
    if quarantine.empty:
        return
    first = quarantine.head(EXAMPLES)
    examples = "; ".join(f"{row.image_path} ({row.reason})" for row in first.itertuples())
    if len(quarantine) > max_share * total:
        raise QuarantineError(
            f"{len(quarantine)} of {total} {what} cannot be used, more than data.max_quarantined_share "
            f"{max_share:g} allows: {examples}; repair or remove them, or raise the share",
            quarantine,
        )
    logger.warning("%d of %d %s were put in quarantine: %s.", len(quarantine), total, what, examples)


def prompts_by_label(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Label -> its distinct prompts, labels in sorted order."""
    return {
        str(label): tuple(sorted(set(group["prompt"]))) for label, group in rows.groupby("label", sort=True)
    }


def asked_once(rows: pd.DataFrame) -> pd.DataFrame:
    """Each image once per class and prompt: what is asked about it is the same whichever of its captions a row has."""
    return rows.drop_duplicates(["sha256", "domain", "label", "prompt"])


def reference_rows(domain: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of never-seen classes or, where there are none, of the other known classes."""
    rows = domain[domain["split"] == split]
    reference = rows[rows["role"] == "reference"]
    return reference if len(reference) else rows[rows["role"] == "retain"]


def reference_tested(samples: pd.DataFrame) -> bool:
    """Whether test images of never-seen classes are there, beside what is forgotten, for it to be told from."""
    domains = samples.loc[samples["role"] == "forget", "domain"]
    unknown = (samples["role"] == "reference") & (samples["split"] == "test")
    return bool((unknown & samples["domain"].isin(domains)).any())


def _refuse_blank(rows: pd.DataFrame, column: str, otherwise: str = "") -> None:
    blank = rows[rows[column].map(lambda value: not isinstance(value, str) or not value)]
    if len(blank):
        raise DataError(
            f"{len(blank)} rows have no {column}, e.g. {blank['sample_id'].iloc[0]}; "
            f"write one or remove them{otherwise}"
        )


def _refuse_shared_prompts(rows: pd.DataFrame) -> None:
    """A prompt that names two labels can't be forgotten for one of them and kept for the other."""
    labels = rows.groupby(["domain", "prompt"])["label"].unique()
    shared = labels[labels.map(len) > 1]
    if len(shared):
        (_, prompt), named = shared.index[0], shared.iloc[0]
        raise DataError(
            f"prompt '{prompt}' is that of {len(named)} concepts, among them {' and '.join(sorted(named)[:2])}; give "
            "each a prompt of its own: in the column prompt, or by {label} and {style} in data.caption_template"
        )


def refuse_values(rows: pd.DataFrame, column: str, allowed: tuple[str, ...]) -> None:
    """Refuse a column that holds anything but what is allowed.

    Raises:
        DataError: it holds something else; names the first row.
    """
    wrong = rows[~rows[column].isin(allowed)]
    if len(wrong):
        raise DataError(
            f"{column} of {wrong['sample_id'].iloc[0]} is {wrong[column].iloc[0]!r}; "
            f"it must be one of {', '.join(allowed)}"
        )


def _refuse_unknown_labels(labels: Iterable[str], known: set[str]) -> None:
    for label in labels:
        if label not in known:
            near = get_close_matches(label, known, 1)
            hint = f"did you mean {near[0]}?" if near else "name a class of the data"
            raise DataError(f"data.reference_labels names '{label}', which is not in the data; {hint}")
