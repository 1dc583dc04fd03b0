-- As in the foundation: a session that has not said whose rows it reads sees none. The view is bound by it as well,
-- because the role that owns it and the tables is.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'api_keys', 'imported_api_keys', 'key_counts', 'token_denials', 'audit_events'
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
