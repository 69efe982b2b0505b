"""What one `kedro run` leaves in MLflow; imported only when a run starts, because MLflow takes its time."""
