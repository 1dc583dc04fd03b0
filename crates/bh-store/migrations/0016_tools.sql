-- MCP servers that tenants bring, what tools they told of, and quotas that are counted by period.

-- `source` is a JSON object, and never secret: credentials are in `tenant_secrets`.
CREATE TABLE mcp_servers (
    nid TEXT NOT NULL,
    name TEXT NOT NULL,
    deployment TEXT NOT NULL,
    source TEXT NOT NULL,
    category TEXT NOT NULL,
    description TEXT NOT NULL,
    running BIGINT NOT NULL,
    error TEXT,
    tools BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (nid, name)
);

CREATE UNIQUE INDEX mcp_servers_by_deployment ON mcp_servers (nid, deployment);

-- `definition` is the JSON object with which the server told of the tool.
CREATE TABLE mcp_tools (
    nid TEXT NOT NULL,
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (nid, server, name)
);

-- `period` is a month in UTC, such as 2026-11.
CREATE TABLE quota_counts (
    nid TEXT NOT NULL,
    quota TEXT NOT NULL,
    period TEXT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (nid, quota, period)
);
