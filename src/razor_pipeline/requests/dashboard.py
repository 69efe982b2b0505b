"""The ledger at a glance: every request, its deadline and its gates, and each line's accuracy over its versions."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from razor_pipeline.requests import evidence
from razor_pipeline.requests.chain import EVIDENCE, edits_of, version
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.report import STYLE, pages
from razor_pipeline.requests.tables import Champion, Request, Version

WIDTH, HEIGHT, EDGE = 480, 60, 6


def render_dashboard(ledger: Ledger, page: Path, folder: Path) -> str:
    """The page as HTML.

    Args:
        ledger: of the requests.
        page: where it will lie; links to reports are relative to it.
        folder: of the versions.
    """
    today = ledger.today()
    rows = [_row(request, today, page, folder) for request in ledger.requests()]
    with ledger.reading() as session:
        lines = [
            _line(session, serving) for serving in session.scalars(select(Champion).order_by(Champion.model))
        ]
    left = [row["days"] for row in rows if row["days"] is not None]
    return (
        pages()
        .get_template("dashboard.html.j2")
        .render(
            rows=rows,
            lines=lines,
            today=today.isoformat(),
            head=ledger.head()[0],
            open=len(left),
            overdue=sum(days < 0 for days in left),
            style=Markup(STYLE),
        )
    )


def _row(request: Request, today: date, page: Path, folder: Path) -> dict[str, Any]:
    # An attempt that is being made, or that broke off, has a folder and no report.
    reports = (folder / request.model).glob(f"{request.id}-v*/{EVIDENCE}/report.html")
    report = max(reports, key=_numbers, default=None)
    return {
        "id": request.id,
        "model": request.model,
        "basis": request.basis,
        "kind": request.kind,
        "status": request.status,
        "reason": request.reason or "",
        "received": request.received.isoformat(),
        "deadline": request.deadline.isoformat(),
        "extended": request.extended is not None,
        "days": request.days_left(today),
        "gates": _gates(report.parent) if report else "",
        "report": quote(os.path.relpath(report, page.parent)) if report else "",
    }


def _numbers(report: Path) -> list[int]:
    """Of version and attempt, which rise from one attempt to the next; a folder's time is that of its last copy."""
    return [int(number) for number in re.findall(r"\d+", report.parents[1].name)]


def _gates(folder: Path) -> str:
    try:
        outcome = [gate["passed"] for gate in evidence.read(folder)["gates"]]
    except (ValueError, KeyError, TypeError):
        return "unreadable"
    return f"{sum(outcome)} of {len(outcome)}"


def _line(session: Session, serving: Champion) -> dict[str, Any]:
    now = version(session, serving.model, serving.number)
    assert now is not None
    history: list[Version] = [now]
    while history[0].parent is not None:
        before = version(session, serving.model, history[0].parent)
        assert before is not None
        history.insert(0, before)
    measured = [(one.number, one.retain_accuracy) for one in history if one.retain_accuracy is not None]
    values = [value for _, value in measured]
    return {
        "model": serving.model,
        "champion": now.number,
        "edits": len(edits_of(now)),
        "width": WIDTH,
        "points": _points(values),
        **({"first": measured[0], "last": measured[-1], "lowest": min(values)} if values else {}),
    }


def _points(values: list[float]) -> list[str]:
    """The polyline; a line that is flat runs through the middle."""
    low, span = min(values, default=0.0), (max(values, default=0.0) - min(values, default=0.0)) or 1.0
    flat = len(set(values)) < 2
    step = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    heights = [0.5 if flat else (value - low) / span for value in values]
    return [
        f"{EDGE + place * step:.1f},{HEIGHT - EDGE - height * (HEIGHT - 2 * EDGE):.1f}"
        for place, height in enumerate(heights)
    ]
