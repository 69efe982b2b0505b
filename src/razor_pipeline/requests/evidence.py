"""The evidence of one request: a signed folder that says what was measured, and from which an audit can start.

It holds no name and no image of the target: the request's id stands in their place, so it may be kept after a purge.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from razor_pipeline import __version__
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.weight_edit import save_edit
from razor_pipeline.fingerprint import code_sha256, commit, digest, environment
from razor_pipeline.requests import signing
from razor_pipeline.requests.chain import EDIT
from razor_pipeline.requests.gates import Gate
from razor_pipeline.requests.report import render_report
from razor_pipeline.requests.sbom import bill_of_materials

RECORD, DATA = "evidence.json", "data.json"
WORDING = (
    "Evidence of what was measured on {}; no proof of erasure, and no statement on images or attacks that were not "
    "tried."
)
IMAGES = "the images whose digests it lists"


@dataclass(frozen=True)
class Evidence:
    """Everything that an evidence folder says.

    Attributes:
        subject: id of the request, or of the rollback.
        model: name of the line.
        parent: version that the edit starts from, its weights' sha256 and the ids of the edits in it.
        weights: sha256 of the edited model's weights.
        edit: the edit itself.
        figures: by model and metric.
        gates: with their outcome.
        outcome: ``passed``, ``failed`` or ``not_measured``.
        data: digests of the images that were used, by role and split.
        parameters: of the run.
        anchor: number and hash of the audit log's last line when the folder was written.
        card: text of the edited model's card.
        earlier_not_measured: ids of edits in the model whose targets are not known any more.
        measured_on: what the figures were measured on, in words.
        not_checked: what they do not say.
    """

    subject: str
    model: str
    parent: dict[str, Any]
    weights: str
    edit: WeightEdit
    figures: dict[str, Any]
    gates: Sequence[Gate]
    outcome: str
    data: dict[str, Any]
    parameters: dict[str, Any]
    anchor: tuple[int, str]
    card: str = ""
    earlier_not_measured: Sequence[str] = field(default_factory=tuple)
    measured_on: str = IMAGES
    not_checked: str = ""

    def record(self) -> dict[str, Any]:
        """The central record, as JSON."""
        return {
            "wording": WORDING.format(self.measured_on),
            "request": self.subject,
            "model": self.model,
            "parent": self.parent,
            "edited_weights_sha256": self.weights,
            "outcome": self.outcome,
            "gates": [gate.plain() for gate in self.gates],
            "figures": self.figures,
            "earlier_not_measured": list(self.earlier_not_measured),
            "not_checked": self.not_checked,
            "audit_anchor": {"line": self.anchor[0], "sha256": self.anchor[1]},
            "code": code(),
        }


def code() -> dict[str, str]:
    """What code made it: version, commit where there is one, and a hash of the sources themselves."""
    found = {"version": __version__, "sha256": code_sha256("razor_pipeline.requests.step")}
    checked_out = commit(Path(__file__).parent)
    return found | ({"commit": checked_out} if checked_out else {})


def data_digests(samples: pd.DataFrame) -> dict[str, Any]:
    """Count and digest of the images by role and split, and each forget image's own sha256."""
    found: dict[str, Any] = {}
    for (role, split), rows in samples.groupby(["role", "split"]):
        hashes = sorted(rows["sha256"])
        found[f"{role}/{split}"] = {"images": len(hashes), "sha256": digest(hashes)}
        if role == "forget":
            found[f"{role}/{split}"]["each"] = hashes
    return found


def write(evidence: Evidence, folder: Path, private_key: Path) -> None:
    """Write and sign the folder; it is there as a whole or not at all."""
    with replace_directory(folder) as beside:
        (beside / EDIT).mkdir()
        save_edit(evidence.edit, beside / EDIT)
        files = {
            RECORD: _json(evidence.record()),
            DATA: _json(evidence.data),
            "parameters.json": _json(evidence.parameters),
            "environment.json": _json(
                {**environment(), "machine": platform.machine(), "system": platform.system()}
            ),
            "sbom.cdx.json": bill_of_materials(),
            "model_card.md": evidence.card,
            "report.html": render_report(evidence.record()),
        }
        for name, text in files.items():
            (beside / name).write_text(text, encoding="utf-8")
        signing.sign(beside, private_key)


def read(folder: Path) -> dict[str, Any]:
    """The central record.

    Raises:
        ValueError: it is missing or unreadable.
    """
    return _read(folder / RECORD)


def forget_images(folder: Path) -> list[str]:
    """sha256 of every image of the target, of all splits.

    Raises:
        ValueError: the evidence is missing or unreadable.
    """
    found = _read(folder / DATA)
    return [sha256 for name, part in found.items() if name.startswith("forget/") for sha256 in part["each"]]


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); restore the folder from a backup") from error
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
