"""The edit of one request: it starts from a line's champion and holds what earlier requests made it forget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from razor_pipeline import manifest as manifests
from razor_pipeline.datasets.images import SUFFIXES, read_images
from razor_pipeline.interfaces import EditResult, ModelFamily, See
from razor_pipeline.manifest import DataError
from razor_pipeline.manifest_splits import with_splits
from razor_pipeline.methods.anchor import chosen_anchors, with_anchors
from razor_pipeline.methods.razor import razor, scored_for
from razor_pipeline.methods.scoring import RetainPass, retain_pass
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.data import DataParams, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.requests.tables import Request
from razor_pipeline.requests.validation import brought_images, known_label
from razor_pipeline.splitting import SplittingError, parse_targets, split_samples


@dataclass(frozen=True)
class Protocol:
    """How samples are drawn and edits are made.

    Attributes:
        splitting: sizes of the sets.
        razor: parameters of the method.
        seed: of all draws.
    """

    splitting: SplittingParams
    razor: RazorParams
    seed: int


def shared_pass(
    model: ModelFamily, manifest: pd.DataFrame, labels: Sequence[str], protocol: Protocol
) -> RetainPass:
    """The retain pass of a batch, without the rows of any of its targets or of what is forgotten already."""
    samples = split_samples(manifest, labels, protocol.splitting, protocol.seed)
    retain = samples[(samples["role"] == "retain") & (samples["split"] == "edit")]
    return retain_pass(model, retain, protocol.razor.scoring, _generator(protocol))


def forget(
    model: ModelFamily,
    manifest: pd.DataFrame,
    label: str,
    earlier: Sequence[str],
    protocol: Protocol,
    shared: RetainPass,
    original: ModelFamily,
    see: See | None = None,
) -> EditResult:
    """The edit that makes a model forget ``label`` and not remember ``earlier``; the model stays as it is.

    In a model that draws whatever was forgotten earlier is led away again with the rest, to another anchor where its
    own is forgotten now.

    Args:
        model: the line's champion.
        manifest: of the model's data.
        label: to be forgotten.
        earlier: labels forgotten before.
        protocol: how samples are drawn and edits are made.
        shared: the retain pass of the batch (:func:`shared_pass`).
        original: the line's base model, as which everything else is kept.
        see: looks at what it draws, where it does.

    Raises:
        AnchorError: ``razor.anchor`` is forgotten itself.
    """
    samples = split_samples(manifest, [label, *earlier], protocol.splitting, protocol.seed)
    params = protocol.razor
    if model.yardstick == "anchor":
        task = replace(unlearning_task(samples), see=see)
        task = with_anchors(original, task, chosen_anchors(original, task, params.anchor))
    else:
        task = unlearning_task(samples, earlier)
    scored = scored_for(model, task, params, _generator(protocol), shared=shared)
    return razor(model, task, params, _generator(protocol), scored, original)


def _generator(protocol: Protocol) -> torch.Generator:
    return torch.Generator().manual_seed(protocol.seed)


def label_of(manifest: pd.DataFrame, request: Request, taken: Collection[str] = ()) -> str | None:
    """The label that a request means; None where the base model never saw it.

    A target that brings its images may be new to the data. One that is not has the label that it has there, however the
    request spells it: under another one, its other images would be taught as what is to be kept.

    Args:
        manifest: of the model's data, without what this request brings.
        request: the request.
        taken: labels of earlier requests.

    Raises:
        DataError: an earlier request names the same.
        SplittingError: it is not in the data; suggests the nearest.
    """
    target = request.target or ""
    try:
        label = known_label(manifest, target)
    except SplittingError:
        if request.data is None:
            raise
        [label] = parse_targets(target)
    if label in set(manifest.loc[manifest["role"] == "reference", "label"]):
        return None
    if label in taken:
        raise DataError("an earlier request names the same target")
    return label


def with_brought_images(
    manifest: pd.DataFrame,
    request: Request,
    label: str,
    root: Path,
    data: DataParams,
    taken: Collection[str] = (),
) -> pd.DataFrame:
    """The manifest with the images that a request brings along, under its label (:func:`label_of`).

    Args:
        manifest: of the model's data, without what this request brings.
        request: the request.
        label: of its target.
        root: folder of what requests bring.
        data: which images are refused.
        taken: labels of earlier requests.

    Raises:
        DataError: the folder is missing or holds no image, too many of its files cannot be used, or the data has one of
            them under a class that is kept.
        IdError: the folder's path is refused.
    """
    if request.data is None:
        return manifest
    files, unread = brought_images(request.data, root)
    if not files:
        raise DataError(
            f"the data folder of {request.id} is missing or holds no image ({', '.join(SUFFIXES)})"
        )
    known = manifest[manifest["label"] == label]
    domain = known["domain"].iloc[0] if len(known) else manifest["domain"].mode()[0]
    listing = pd.DataFrame(
        {
            "image_path": [str(path) for path in files],
            "sample_id": [f"{request.id}/{number:05d}" for number in range(len(files))],
            "label": label,
            "domain": domain,
        }
    )
    told = manifests.captioned(manifests.complete(listing, data), data)
    rows, quarantine = read_images(told, data.max_megapixels)
    reasons, total = [*unread, *quarantine["reason"]], len(listing) + len(unread)
    if len(reasons) > data.max_quarantined_share * total:
        raise DataError(
            f"{len(reasons)} of the {total} images of {request.id} cannot be used, more than "
            f"data.max_quarantined_share allows; the first {reasons[0]}"
        )
    rows = with_splits(rows[~rows["sha256"].isin(set(known["sha256"]))].drop_duplicates("sha256"), data)
    _check_kept(manifest[~manifest["label"].isin([label, *taken])], rows["sha256"], request)
    # The splits are disjoint by image, and one may be of an earlier target, or of somebody never seen, as well.
    twins = manifest.drop_duplicates("sha256").set_index("sha256")["split"]
    rows = rows.assign(split=rows["sha256"].map(twins).fillna(rows["split"]))
    return manifests.check_manifest(pd.concat([manifest, rows], ignore_index=True))


def _check_kept(others: pd.DataFrame, brought: pd.Series, request: Request) -> None:
    """Refuse images that would be taught as what is to be kept, too."""
    kept = others.loc[others["role"] == "retain", "sha256"]
    if shared := sorted(set(brought) & set(kept)):
        # No semicolon: what follows one is not told where the refusal is kept. Nor are the names of files and classes.
        raise DataError(
            f"the data has {len(shared)} of the images of {request.id} under another class, the first with the sha256 "
            f"{shared[0][:12]}…: take them out of the request's folder, or out of that class"
        )
