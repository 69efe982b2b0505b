"""manifest + target -> samples."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.splitting.nodes import split_samples


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                split_samples,
                ["manifest", "params:target", "params:splitting", "params:seed"],
                "samples",
                name="split_samples",
            )
        ]
    )
