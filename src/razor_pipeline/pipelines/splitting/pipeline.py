"""target -> targets; manifest + targets + drawn_size + evaluation_prompts -> samples."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.splitting.nodes import check_request, split_samples


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                check_request,
                ["params:target", "params:data", "params:atelier", "params:seed"],
                "targets",
                name="check_request",
            ),
            Node(
                split_samples,
                [
                    "manifest",
                    "targets",
                    "params:splitting",
                    "params:seed",
                    "drawn_size",
                    "evaluation_prompts",
                ],
                "samples",
                name="split_samples",
            ),
        ]
    )
