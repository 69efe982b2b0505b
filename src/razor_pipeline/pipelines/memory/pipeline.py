"""parameters -> memory_rows, memory_table, memory_text."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.memory.nodes import measure_memory


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                measure_memory,
                ["params:memory"],
                ["memory_rows", "memory_table", "memory_text"],
                name="measure_memory",
            )
        ]
    )
