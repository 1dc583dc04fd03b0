-- As in the foundation: a session that has not said whose rows it reads sees none.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'mcp_servers', 'mcp_tools', 'quota_counts'
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
