"""base_model + manifest + retrained_models -> robustness_rows, robustness_table, robustness_page."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.robustness.nodes import attack_models, show_attacks


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                attack_models,
                [
                    "base_model",
                    "manifest",
                    "retrained_models",
                    "params:splitting",
                    "params:razor",
                    "params:robustness",
                ],
                ["robustness_rows", "robustness_table", "robustness_text"],
                name="attack_models",
            ),
            Node(
                show_attacks,
                ["robustness_rows", "robustness_table"],
                ["robustness_figure", "robustness_page"],
                name="show_attacks",
            ),
        ]
    )
