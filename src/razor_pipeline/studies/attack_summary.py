"""What attacks brought about, in short: one figure per attack, model, target and seed, and their means.

A figure is a share of 0 to 1, larger where more came back: the share of the target's unseen images that are named (of
the strongest wording; along a curve, its area), or the advantage ``|2 AUC - 1|`` of membership inference.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from razor_pipeline.core.attacks.membership import strongest
from razor_pipeline.core.attacks.relearning import area
from razor_pipeline.core.metrics import Ints, privacy_leakage
from razor_pipeline.studies.tables import by_target, interval, summarise

MODELS = ("base", "edited", "retrained", "masked", "last_layer")
CONTROLS = ("masked", "last_layer")
RECOVERED = 0.5  # of what an attack shows on the base: a control that shows as much has been recovered
CELL = ["target", "seed"]
Summary = dict[str, dict[str, Any]]
PEAK = "highest_"
MEMBERSHIP, TELLS = "membership", "base_membership_beyond_retrained"
LEAK = "absolute_leakage"  # |PrivLeak|, in points
NO_ATTACK = ("none", "int8_changed_bins", "int4_changed_bins")
OVER_STEPS = ("relearn", "tune_edited")


def long_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per target, seed, model, attack, variant and step: ``value``."""
    out = [
        {"target": row["target"], "seed": row["seed"], "images": row["images"], **finding}
        for row in rows.to_dict("records")
        for finding in row["findings"]
    ]
    return pd.DataFrame(out)


def headlines(table: pd.DataFrame) -> pd.DataFrame:
    """The one figure of every attack: ``target, seed, model, attack, value``.

    Args:
        table: from :func:`long_table`.
    """
    out: list[dict[str, Any]] = []
    for keys, part in table.groupby([*CELL, "model", "attack"], sort=False):
        head = dict(zip([*CELL, "model", "attack"], keys, strict=True))
        attack, highest = str(head["attack"]), float(part["value"].max())
        if attack.startswith(OVER_STEPS):
            out.append({**head, "value": area(list(part.sort_values("step")["value"]))})
            out.append({**head, "attack": f"{PEAK}{attack}", "value": highest})
        elif attack != MEMBERSHIP:
            out.append({**head, "value": highest})
    for keys, part in table[table["attack"] == MEMBERSHIP].groupby(CELL, sort=False):
        out += _membership(dict(zip(CELL, keys, strict=True)), part)
    return pd.DataFrame(out)


def _membership(cell: dict[str, Any], part: pd.DataFrame) -> list[dict[str, Any]]:
    """Advantage and PrivLeak of the strongest score; against the retrained model's AUC by the same score."""
    aucs = {
        str(name): dict(zip(own["variant"], own["value"], strict=True)) for name, own in part.groupby("model")
    }
    reference = aucs.get("retrained")
    out = []
    for model, own in aucs.items():
        best = strongest(own)
        out.append({**cell, "model": model, "attack": MEMBERSHIP, "value": abs(2.0 * own[best] - 1.0)})
        worst = strongest(own, reference)
        leak = privacy_leakage(own[worst], reference[worst] if reference else 0.5)
        out.append({**cell, "model": model, "attack": LEAK, "value": abs(leak)})
    return out


def attack_summary(rows: pd.DataFrame) -> Summary:
    """``{<model>_<attack>: {mean, worst, low, high, n}}``, and of the edited model what matters beside retraining.

    ``<attack>_over_retrained`` is the quotient of the two mean areas, ``<attack>_beyond_retrained`` a difference;
    ``base_membership_beyond_retrained`` says whether membership inference tells a member at all.

    Args:
        rows: from :func:`headlines`.
    """
    named = rows.assign(figure=rows["model"] + "_" + rows["attack"])
    flat = named.pivot_table(index=CELL, columns="figure", values="value")
    quotients = {}
    for attack in sorted(set(rows["attack"]) - {*NO_ATTACK, LEAK}):
        edited, retrained = f"edited_{attack}", f"retrained_{attack}"
        if not {edited, retrained} <= set(flat):
            continue
        pairs = flat[[edited, retrained]].dropna()
        if not attack.startswith(OVER_STEPS):
            flat[f"{attack}_beyond_retrained"] = flat[edited] - flat[retrained]
        elif pairs.to_numpy().any():
            quotients[f"{attack}_over_retrained"] = _quotient(pairs, edited, retrained)
    if {f"base_{MEMBERSHIP}", f"retrained_{MEMBERSHIP}"} <= set(flat):
        flat[TELLS] = flat[f"base_{MEMBERSHIP}"] - flat[f"retrained_{MEMBERSHIP}"]
    return summarise(flat, list(flat.columns)) | quotients


def _quotient(pairs: pd.DataFrame, above: str, below: str) -> dict[str, Any]:
    """Of the means, with its interval over targets.

    None, for there is no bound, where something came back and nothing did on the retrained model; ``worst`` is that of
    the cell that has the largest.
    """
    over, under = by_target(pairs, above), by_target(pairs, below)

    def of_means(index: Ints) -> float:
        total = float(under[index].sum())
        return float(over[index].sum()) / total if total > 0.0 else math.inf

    every = of_means(np.arange(len(over)))
    worst = float((pairs[above] / pairs[below]).max())  # 0 / 0 is left out
    without_one = [of_means(np.delete(np.arange(len(over)), place)) for place in range(len(over))]
    bounded = len(over) > 1 and all(math.isfinite(value) for value in [every, *without_one])
    return {
        "mean": _bounded(every),
        "worst": _bounded(worst),
        **(interval(of_means, len(over)) if bounded else {"low": None, "high": None}),
        "n": len(pairs),
        "targets": len(over),
    }


def _bounded(value: float) -> float | None:
    return value if math.isfinite(value) else None


def recovered(table: Summary, attack: str) -> list[str]:
    """The controls on which the attack shows at least half of what it shows on the base.

    Of relearning it is the highest point that counts, not how soon it is reached. Names are not guessed; members are:
    of a few images the strongest of several scores has an advantage of 0.2 by chance. So membership inference recovers
    nothing unless the base, which was trained on the images, gives more away than the retrained model.
    """
    if attack == MEMBERSHIP and TELLS in table and not (table[TELLS]["low"] or 0.0) > 0.0:
        return []
    peak = f"{PEAK}{attack}" if f"base_{PEAK}{attack}" in table else attack
    base = table.get(f"base_{peak}", {"mean": 1.0})["mean"]
    return [
        control
        for control in CONTROLS
        if table.get(f"{control}_{peak}", {"mean": 0.0})["mean"] >= RECOVERED * base > 0.0
    ]


def curves(table: pd.DataFrame, attack: str) -> dict[str, Summary]:
    """Model -> step (as text) -> mean, low, high and n of the recovery over targets and seeds."""
    own = table[table["attack"] == attack]
    return {
        model: {
            f"{step:g}": summarise(part, ["value"])["value"]
            for step, part in own[own["model"] == model].groupby("step")
        }
        for model in MODELS
        if (own["model"] == model).any()
    }


def as_lines(title: str, table: Summary) -> str:
    """Attacks down, models across, and the controls that each recovers, for a terminal."""
    attacks = [name.removeprefix("edited_") for name in table if name.startswith("edited_")]
    lines = [title, f"{'':24}" + "".join(f"{model:>12}" for model in MODELS) + "  recovers"]
    for attack in attacks:
        means = [table.get(f"{model}_{attack}", {}).get("mean") for model in MODELS]
        proof = (
            ""
            if attack in (*NO_ATTACK, LEAK)
            else "  " + (", ".join(recovered(table, attack)) or "no control")
        )
        lines.append(
            f"{attack:24}" + "".join(f"{'' if m is None else f'{m:.3f}':>12}" for m in means) + proof
        )
    return "\n".join(lines)
