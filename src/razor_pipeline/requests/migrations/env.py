"""How Alembic reaches the database: over the connection that the caller holds."""

from alembic import context

from razor_pipeline.requests.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
