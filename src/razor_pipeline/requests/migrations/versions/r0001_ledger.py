"""The ledger: requests, audit log, leases, batches, versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

FUNCTION = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$
"""
TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for verb in ("update", "delete")
    ],
    "postgresql": [
        FUNCTION,
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    ],
}


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "requests",
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("model", sa.String(32), nullable=False, index=True),
        sa.Column("target", sa.String(200)),
        sa.Column("data", sa.String(200)),
        sa.Column("nonce", sa.String(32)),
        sa.Column("basis", sa.String(8), nullable=False),
        sa.Column("requester", sa.String(20), nullable=False),
        sa.Column("received", sa.Date, nullable=False),
        sa.Column("due", sa.Date, nullable=False),
        sa.Column("extended", sa.Date),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("reason", sa.Text),
        sa.Column("version", sa.Integer),
        sa.Column("purged", sa.String(40)),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(20), nullable=False),
        sa.Column("action", sa.String(24), nullable=False),
        sa.Column("request", sa.String(20), index=True),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("record", sa.String(64)),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "sha256": "0" * 64}])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(160), nullable=False),
        sa.Column("expires", sa.Float(53), nullable=False),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(32), nullable=False, index=True),
        sa.Column("parent", sa.Integer, nullable=False),
        sa.Column("requests", sa.Text, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(32), nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("parent", sa.Integer),
        sa.Column("request", sa.String(20), sa.ForeignKey("requests.id")),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("weights", sa.String(64), nullable=False),
        sa.Column("edits", sa.Text, nullable=False),
        sa.Column("retain_accuracy", sa.Float(53)),
        sa.Column("registered", sa.String(32)),
        sa.UniqueConstraint("model", "number"),
    )
    op.create_table(
        "champions",
        sa.Column("model", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
    )
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Refused: an audit log is not thrown away by a tool.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger's first schema has none before it; restore a backup instead")
