"""base_model + manifest -> bench_rows, bench_table."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.bench.nodes import measure_cost


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                measure_cost,
                ["base_model", "manifest", "params:splitting", "params:razor", "params:bench"],
                ["bench_rows", "bench_table", "bench_text"],
                name="measure_cost",
            )
        ]
    )
