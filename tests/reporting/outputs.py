"""Outputs of a finished run: photographs and component names from real code, numbers made up."""

from __future__ import annotations

import io
import math
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from razor_pipeline.atelier import canvas_prompt, generate, person_prompt
from razor_pipeline.core.components import parameter_names
from razor_pipeline.core.metrics import share
from razor_pipeline.core.scoring import ratio_aware_score
from razor_pipeline.families.clip_pretraining import new_clip
from razor_pipeline.params.data import AtelierParams, SplitCounts
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.reporting.record import RunRecord

TARGET = "Ada Moreau"
LOST = "Bruno Keller"  # who loses most
COUNTS = SplitCounts(edit=1, validation=1, test=2)


@cache
def samples() -> pd.DataFrame:
    """A small atelier with the target's rows in the forget role."""
    params = AtelierParams(portraits=COUNTS, canvas=SplitCounts(edit=0, validation=0, test=1))
    rows = generate(params, workers=1)
    person = rows["domain"] == "portraits"
    named = [person_prompt(label) for label in rows["label"]]
    painted = [canvas_prompt(label, style) for label, style in zip(rows["label"], rows["style"], strict=True)]
    rows["prompt"] = np.where(person, named, painted)
    rows.loc[person & (rows["label"] == TARGET), "role"] = "forget"
    return rows


@cache
def component_scores(granularity: str = "matrix") -> pd.DataFrame:
    """Scores of a five-plus-five-layer CLIP: real names and sizes, gradients norms drawn at random."""
    family = new_clip(
        ["a photo"], PretrainingParams(clip={"width": 64, "vision_layers": 5, "text_layers": 5})
    )
    components = family.components(granularity)  # type: ignore[arg-type]
    parameters = dict(family.module.named_parameters())
    assert parameter_names(components)
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for c in components:
        boost = math.exp(0.25 * c.layer + (0.8 if ".v" in c.name or "mlp" in c.name else 0.0))
        theta, forget, cosine = (
            10.0,
            0.2 * boost * float(rng.lognormal(0, 0.4)),
            float(rng.uniform(-0.2, 0.6)),
        )
        phi = ratio_aware_score(forget, theta, cosine, 0.5, 1e-8)
        row = {
            "component": c.name,
            "kind": c.kind,
            "tower": c.tower,
            "layer": c.layer,
            "weights": c.numel(parameters),
        }
        rows.append(
            row
            | {"theta_norm": theta, "forget_norm": forget, "retain_norm": 1.0, "cosine": cosine, "score": phi}
        )
    table = pd.DataFrame(rows).sort_values("score", ascending=False, ignore_index=True)
    return table.assign(rank=range(len(table)))


def edit_trace() -> pd.DataFrame:
    """A search that brackets, bisects and is followed by four corrective steps."""
    searched = [
        (0.02, 0.93, 0.994),
        (0.04, 0.41, 0.978),
        (0.028, 0.74, 0.991),
        (0.034, 0.55, 0.986),
        (0.037, 0.49, 0.983),
    ]
    rows = [("base", 0.0, 1.0, 0.996, 1.0), *(("search", s, a, r, 0.0) for s, a, r in searched)]
    rows += [
        ("zero_step", 0.0, 0.49, 0.983, 0.0),
        ("repair", 0.01, 0.53, 0.990, 0.0),
        ("repair", 0.01, 0.51, 0.995, 0.0),
    ]
    rows += [("repair", 0.01, 0.46, 0.994, 0.0)]
    frame = pd.DataFrame(
        rows, columns=["stage", "step_size", "knowledge_auc", "retain_accuracy", "forget_accuracy"]
    )
    extra = {
        "step": range(len(frame)),
        "round": 0,
        "retain_margin": 0.1,
        "kept": [i == 8 for i in range(len(frame))],
    }
    return frame.assign(**extra)


def hardened_trace(*stages: str) -> pd.DataFrame:
    """The same with rounds of hardening behind it."""
    trace = edit_trace()
    last = trace.iloc[[-1]].assign(kept=False, retain_accuracy=0.9)
    rounds = [last.assign(stage=stage, round=place) for place, stage in enumerate(stages)]
    return pd.concat([trace, last.assign(stage="unhardened"), *rounds], ignore_index=True)


def metrics(
    edited_forget: int = 0, edited_auc: float = 0.52, edited_retain: float = 0.9929, base_forget: int = 16
) -> pd.DataFrame:
    """Figures of all models; the arguments make good and bad outcomes of 16 test images."""
    rows: list[dict[str, Any]] = []
    outcomes = {"base": (base_forget, 1.0, 0.9945), "edited": (edited_forget, edited_auc, edited_retain)}
    for scheme in ("int8", "int4"):
        for state in ("base", "edited"):
            hits, auc, retain = outcomes[state]
            outcomes[f"{scheme}_{state}"] = (hits, auc, retain - (0.001 if scheme == "int4" else 0.0))
    for model, (hits, auc, retain) in outcomes.items():
        found = share(np.arange(16) < hits)
        rows.append({"model": model, "metric": "forget_accuracy", **vars(found)})
        lost = share(np.arange(16) < 1) if model.endswith("edited") else share(np.arange(16) < 0)
        rows.append({"model": model, "metric": "worst_class_loss", **vars(lost)})
        rows.append(
            {"model": model, "metric": "forget_accuracy_top5", **vars(share(np.arange(16) < max(hits, 1)))}
        )
        agreement = 1.0 if model.endswith("base") else 0.9961
        values = {
            "retain_accuracy": (retain, 0.004, 752),
            "near_twin_accuracy": (1.0, 0.0, 16),
            "general_accuracy": (0.9825, 0.012, 400),
            "retrieval_agreement": (agreement, 0.003, 752),
            "membership_auc": (auc, 0.05, 252),
        }
        for metric, (value, half, n) in values.items():
            low, high = max(0.0, value - half), min(1.0, value + half)
            rows.append({"model": model, "metric": metric, "value": value, "low": low, "high": high, "n": n})
        leak = [200.0 * (x - 0.5) for x in (auc, max(0.0, auc - 0.05), min(1.0, auc + 0.05))]
        rows.append(
            {
                "model": model,
                "metric": "privacy_leakage",
                "value": leak[0],
                "low": leak[1],
                "high": leak[2],
                "n": 252,
            }
        )
    return pd.DataFrame(rows)


def predictions() -> pd.DataFrame:
    """Top three captions: the target's change, the others' stay."""
    rows = samples()[(samples()["split"] == "test") & (samples()["role"] != "reference")]
    twin = rows.loc[rows["role"] == "forget", "near_twin"].iloc[0]
    people = rows[rows["domain"] == "portraits"]
    chosen = {
        "target": people[people["role"] == "forget"],
        "near_twin": people[people["label"] == twin],
        "lost": people[people["label"] == LOST].head(1),
        "other": people[~people["label"].isin([TARGET, twin])].iloc[[4, 18, 33]],
        "general": rows[rows["domain"] == "canvas"].iloc[[3, 37, 81]],
    }
    out: list[dict[str, Any]] = []
    for group, part in chosen.items():
        same = sorted(set(rows.loc[rows["domain"] == part["domain"].iloc[0], "prompt"]))
        for place, row in enumerate(part.itertuples()):
            others = [p for p in same[7 + place :] if p != row.prompt]
            for model in ("base", "edited"):
                gone = group in ("target", "lost") and model == "edited"
                captions = others[:3] if gone else [row.prompt, *others[:2]]
                for rank, caption in enumerate(captions):
                    score = (0.18 if gone else 0.71) - 0.07 * rank
                    out.append({"sample_id": row.sample_id, "group": group, "model": model, "rank": rank})
                    out[-1] |= {"caption": caption, "score": score}
    return pd.DataFrame(out)


def edit_report(granularity: str = "matrix") -> dict[str, Any]:
    """How the edit came about: the top 16 components."""
    scores = component_scores(granularity)
    edited = scores.head(16)
    return {
        "stop_reason": "target_met",
        "rounds": 1,
        "seconds": {"score": 3.4, "edit": 11.8},
        "components": list(edited["component"]),
        "components_total": len(scores),
        "hardened": [],
        "weights_total": int(scores["weights"].sum() * 1.2),
        "weights_edited": int(edited["weights"].sum()),
        "device": "cpu",
        "peak_rss_mb": 812.4,
    }


def drawings() -> pd.DataFrame:
    """What a model that draws leaves: one image of base and edited model for two prompts of each group."""
    rows = []
    for group, label in (("target", "cat"), ("other", "dog"), ("general", "fish")):
        for seed in (188, 288):
            for model, colour in (("base", "white"), ("edited", "black")):
                buffer = io.BytesIO()
                Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
                seen = "dog" if (label, model) == ("cat", "edited") else label
                rows.append(
                    {
                        "sample_id": f"A {label} image in Mosaic style. seed {seed}",
                        "group": group,
                        "model": model,
                        "rank": 0,
                        "caption": "Mosaic" if group == "general" else f"{seen}, Mosaic",
                        "score": float(seen == label),
                        "label": label,
                        "style": "Mosaic",
                        "image_bytes": buffer.getvalue(),
                    }
                )
    return pd.DataFrame(rows)


def run_record(**changes: Any) -> RunRecord:
    """The whole run; ``changes`` replace fields."""
    manifest = {
        "method": "razor",
        "family": "clip",
        "seed": 0,
        "base_model": {"id": "data/01_raw/zoo/clip", "revision": None},
    }
    manifest["base_model"]["sha256"] = "3f9a" * 16  # type: ignore[index]
    fields: dict[str, Any] = {
        "metrics": metrics(),
        "component_scores": component_scores(),
        "edit_trace": edit_trace(),
        "edit_report": edit_report(),
        "predictions": predictions(),
        "samples": samples(),
        "quantization": pd.DataFrame(
            {"scheme": ["int8", "int4"], "changed_bin_share": [0.81, 0.22], "mb": [2.9, 1.8]}
        ),
        "manifest": manifest,
        "delta_bytes": 3_400_000,
        "scenario": "base",
        "seed": 0,
        "parameters": {"target": TARGET, "seed": 0, "razor": {"components": 16, "search": {"goal": 0.5}}},
    }
    return RunRecord(**(fields | changes))
