-- PostgreSQL repeats the tenant rule: a session that has not said whose rows it reads sees none, not even as the
-- tables' owner. `meta`, `holders` and `schema_migrations` hold the installation's own facts and no tenant's.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'evidence', 'evidence_heads', 'evidence_nodes', 'evidence_checkpoints', 'evidence_contents',
        'evidence_retention', 'spend', 'budget_windows', 'budget_leases'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant_rows ON %I USING (nid = current_setting(''bulkhead.nid'', true) '
            'OR current_setting(''bulkhead.nid'', true) = ''*'')',
            name
        );
    END LOOP;
END
$$;

-- Canonical JSON is small and must be read whole: keep it in the row's own compression, never as plain overflow.
ALTER TABLE evidence ALTER COLUMN record SET STORAGE MAIN;
