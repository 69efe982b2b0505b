"""manifest + judges -> bench_rows, bench_table, bench_page."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.bench.nodes import measure_cost, show_cost


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                measure_cost,
                [
                    "manifest",
                    "judges",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:bench",
                ],
                ["bench_rows", "bench_table", "bench_text"],
                name="measure_cost",
            ),
            Node(
                show_cost,
                ["bench_rows", "bench_table", "params:bench"],
                ["bench_figure", "bench_page"],
                name="show_cost",
            ),
        ]
    )
