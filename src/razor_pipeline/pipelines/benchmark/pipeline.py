"""base_model + manifest + retrained_models + judges -> benchmark_rows, leaderboard, leaderboard_page."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.benchmark.nodes import compare_methods


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                compare_methods,
                [
                    "base_model",
                    "manifest",
                    "retrained_models",
                    "judges",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:benchmark",
                ],
                ["benchmark_rows", "leaderboard", "leaderboard_page"],
                name="compare_methods",
            )
        ]
    )
