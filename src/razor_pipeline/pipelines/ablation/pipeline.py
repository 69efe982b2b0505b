"""base_model + manifest -> ablation_rows, ablation_table."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.ablation.nodes import ablate


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                ablate,
                [
                    "base_model",
                    "manifest",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:ablation",
                ],
                ["ablation_rows", "ablation_table", "ablation_text"],
                name="ablate",
            )
        ]
    )
