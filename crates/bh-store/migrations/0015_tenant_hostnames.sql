-- Host names of tenants that were made at run time: each leads to one.
CREATE TABLE tenant_hostnames (
    nid TEXT NOT NULL,
    hostname TEXT NOT NULL,
    PRIMARY KEY (nid, hostname)
);
CREATE UNIQUE INDEX tenant_hostnames_once ON tenant_hostnames (hostname);
