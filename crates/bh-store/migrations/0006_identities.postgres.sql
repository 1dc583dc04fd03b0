-- As in the foundation: a session that has not said whose rows it reads sees none.
ALTER TABLE identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE identities FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON identities USING (
    nid = current_setting('bulkhead.nid', true) OR current_setting('bulkhead.nid', true) = '*'
);
