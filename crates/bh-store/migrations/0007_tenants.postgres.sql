-- As in the foundation: a session that has not said whose rows it reads sees none.
ALTER TABLE tenant_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_profiles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON tenant_profiles USING (
    nid = current_setting('bulkhead.nid', true) OR current_setting('bulkhead.nid', true) = '*'
);
