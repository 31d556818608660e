"""Kickoffs, questions, workers and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

FLOAT: sa.Double[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "qd_kickoffs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("crew", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("meta", sa.Text, nullable=False),
        sa.Column("hooks", sa.Text, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_seconds", FLOAT),
        sa.Column("answer_seconds", FLOAT),
        sa.Column("default_action", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_by", sa.Text, nullable=False, server_default=""),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
        sa.Column("worker", sa.Text),
        sa.Column("created", FLOAT, nullable=False),
        sa.Column("queued", FLOAT, nullable=False),
        sa.Column("started", FLOAT),
        sa.Column("ended_at", FLOAT),
        sa.Column("cancel_requested", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "qd_questions",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("asked", FLOAT, nullable=False),
        sa.Column("expires", FLOAT),
        sa.Column("default_action", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("answered", FLOAT),
    )
    op.create_table(
        "qd_workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started", FLOAT, nullable=False),
        sa.Column("heartbeat", FLOAT, nullable=False),
        sa.Column("draining", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crews", sa.Text, nullable=False),
    )
    op.create_table(  # what is to be sent to one URL for one run, as long as there is something
        "qd_webhook_queues",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("due", FLOAT, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "qd_webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("queue", sa.Text, nullable=False, server_default=""),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False, server_default="0"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("access", sa.Text, nullable=False, server_default="{}"),
        sa.Column("batch", sa.Text),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text, nullable=False, server_default=""),
        sa.Column("created", FLOAT, nullable=False),
        sa.Column("since", FLOAT, nullable=False, server_default="0"),
        sa.Column("delivered", FLOAT),
    )
    _index("qd_kickoffs_request", "qd_kickoffs (tenant, crew, request_id)", "request_id IS NOT NULL", unique=True)
    _index(
        "qd_kickoffs_queue",
        "qd_kickoffs (crew, version, tenant, priority DESC, created, id)",
        "state IN ('queued', 'stranded')",
    )
    _index("qd_kickoffs_running", "qd_kickoffs (worker, tenant)", "state = 'running'")
    _index("qd_kickoffs_list", "qd_kickoffs (tenant, created DESC, id DESC)")
    _index("qd_kickoffs_list_crew", "qd_kickoffs (tenant, crew, created DESC, id DESC)")
    _index("qd_kickoffs_list_state", "qd_kickoffs (tenant, state, created DESC, id DESC)")
    _index("qd_kickoffs_list_user", "qd_kickoffs (tenant, user_id, created DESC, id DESC)", "user_id IS NOT NULL")
    _index("qd_kickoffs_ended", "qd_kickoffs (ended_at)", "ended_at IS NOT NULL")
    _index("qd_questions_expiry", "qd_questions (expires)", "answer IS NULL AND expires IS NOT NULL")
    _index("qd_webhook_queues_due", "qd_webhook_queues (due)")
    _index("qd_webhooks_next", "qd_webhooks (queue, seq, part)", "state = 'pending'")
    _index("qd_webhooks_run", "qd_webhooks (run_id)")
    _index("qd_webhooks_list", "qd_webhooks (tenant, state, created DESC, id DESC)")


def _index(name: str, on: str, where: str = "", unique: bool = False) -> None:
    condition = f" WHERE {where}" if where else ""
    op.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX {name} ON {on}{condition}")
