"""The figures of a study's table, in the order in which they are printed; each where a row has it."""

ANSWERED = (
    "edited_forget_accuracy_seen",
    "edited_forget_accuracy_held_out",
    "edited_forget_accuracy_few_shot",
    "edited_forget_accuracy_leading",
    "edited_forget_accuracy_choice",
    "neutral_drop",
    "neutral_worst_drop",
    "target_neutral_drop",
    "degenerate_rise",
    "says_unknown",
    "says_another_name",
    "says_nothing",
    "answer_perplexity",
)
ATTACKED = (
    "inversion_share",
    "inversion_share_worst",
    "prompt_search_share",
    "prompt_search_share_worst",
)
METRICS = (
    "edited_forget_accuracy",
    "edited_forget_accuracy_top5",
    "retain_drop",
    "worst_class_loss",
    "near_twin_drop",
    "general_drop",
    "retrieval_agreement",
    "membership_auc",
    "privacy_leakage",
    "retrained_auc",
    "relearn_steps",
    "retrained_relearn_steps",
    "relearn_margin",
    "gap_to_retraining",
    "edited_fraction",
    *(
        f"{s}_{m}"
        for s in ("int8", "int4", "nf4")
        for m in ("edited_forget_accuracy", "retain_drop", "membership_auc")
    ),
    *(
        f"{prefix}{figure}"
        for prefix in ("", "int8_", "int4_", "nf4_")
        for figure in ("ua", "ira", "cra", "ira_drop", "cra_drop", "blank_share")
    ),
    *(f"{prefix}{figure}" for prefix in ("", "int8_", "int4_", "nf4_") for figure in ANSWERED),
    "base_forget_accuracy",
    "base_retain",
    "base_neutral",
    "cra_with_target",
    "drawn_as_before",
    "judge_distance",
    "fid",
    "clip_score",
    "base_fid",
    "base_clip_score",
    "ua_encoders_back",
    *(f"no_forget_{figure}" for figure in ("ua", "ira_drop", "cra_drop", "base_ua")),
    *(f"{model}{share}" for share in ATTACKED for model in ("", "retrained_")),
    "base_inversion_share",
    "base_inversion_share_worst",
    "inversion_beyond_retrained",
    "prompt_search_beyond_retrained",
    "retrained_ua",
    "retrained_ira",
    "retrained_cra",
    "base_ua",
    "base_ira",
    "base_cra",
    "score_seconds",
    "edit_seconds",
)
