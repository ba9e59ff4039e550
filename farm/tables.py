"""Tables of the farm's database: devices and their leases, jobs and their parts, runs, events.

Times are seconds since 1970 by the database's own clock (`farm.database.now`). States change only
by guarded updates: ``UPDATE … WHERE state = …``, and whoever changes no row has lost the race.
"""

import sqlalchemy as sa

METADATA = sa.MetaData()

WORKERS = sa.Table(
    "workers",
    METADATA,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("heartbeat", sa.Double, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False, default=False),
    comment="one row a lab host: which process serves its devices",
)

DEVICES = sa.Table(
    "devices",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, index=True),
    sa.Column("entry", sa.Text, nullable=False),
    sa.Column("health", sa.Text, nullable=False, default="healthy"),
    sa.Column("cause", sa.Text, nullable=False, default=""),
    sa.Column("failed_probes", sa.Integer, nullable=False, default=0),
    sa.Column("numeric_probes", sa.Integer, nullable=False, default=0),
    sa.Column("health_since", sa.Double, nullable=False),
    sa.Column("next_probe", sa.Double, nullable=False),
    sa.Column("last_seen", sa.Double),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("lease_expires", sa.Double),
    comment="inventory entry (JSON), health, and the lease: no holder means free",
)

HEALTH_LOG = sa.Table(
    "health_log",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("device", sa.Text, nullable=False, index=True),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    comment="every transition of a device's health",
)

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("preparation", sa.Text, nullable=False),
    sa.Column("depends_on", sa.Text, index=True),
    sa.Column("state", sa.Text, nullable=False, default="live"),
    sa.Column("cancelled", sa.Boolean, nullable=False, default=False),
    sa.Column("outcome", sa.Text),
    sa.Column("submitter", sa.Text, nullable=False, default="", server_default=""),
    comment="what was submitted, by whom; state is live or done",
)
JOBS_BY_SUBMITTER = sa.Index("jobs_by_submitter", JOBS.c.submitter, JOBS.c.created)
_LIVE = (JOBS.c.state == "live") & JOBS.c.cancelled.is_(False)
sa.Index(
    "one_live_job_by_content",
    JOBS.c.content,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

PARTS = sa.Table(
    "parts",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), nullable=False, index=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("selector", sa.Text, nullable=False),
    sa.Column("preparation", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("not_before", sa.Double, nullable=False, default=0.0),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    sa.Column("host", sa.Text),
    sa.Column("device", sa.Text),
    sa.Column("token", sa.BigInteger),
    sa.Column("avoid", sa.Text),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("outcome", sa.Text),
    sa.Column("failure", sa.Text),
    sa.Column("message", sa.Text, nullable=False, default=""),
    sa.Column("differences", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("refusals", sa.Integer, nullable=False, default=0, server_default="0"),
    comment="what a job does on one device; state is waiting, ready, running or done",
)
sa.Index("parts_to_claim", PARTS.c.state, PARTS.c.selector, PARTS.c.priority.desc(),
         PARTS.c.sequence)  # fmt: skip
PARTS_BY_PREPARATION = sa.Index("parts_by_preparation", PARTS.c.state, PARTS.c.preparation)
sa.Index("running_parts", PARTS.c.device, sqlite_where=PARTS.c.state == "running",
         postgresql_where=PARTS.c.state == "running")  # fmt: skip

PREPARATIONS = sa.Table(
    "preparations",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("workflow", sa.Text, nullable=False),
    comment="artifacts made, or being made, in a lab host's cache; state is queued or done",
)

RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("part", sa.Text, sa.ForeignKey("parts.id"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("job", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    comment="accepted results: run.json, compressed; at most one a part",
)

FILES = sa.Table(
    "files",
    METADATA,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    comment="files that lab hosts share, by content, in numbered pieces; at is when last submitted",
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("job", sa.Text, nullable=False, index=True),
    sa.Column("part", sa.Text),
    sa.Column("device", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    comment="what happened to a job, in order",
)

UPLOADS = sa.Table(
    "uploads",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("submitter", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    comment="what came in of late, by the name of the token: its quota outlives the server",
)
sa.Index("uploads_by_submitter", UPLOADS.c.submitter, UPLOADS.c.at)

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("revoked", sa.Double),
    comment="who may speak to the server; digest is sha256 of the secret",
)
