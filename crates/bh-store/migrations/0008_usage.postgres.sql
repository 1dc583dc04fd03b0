-- As in the foundation: a session that has not said whose rows it reads sees none.
ALTER TABLE usage_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_hours FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON usage_hours USING (
    nid = current_setting('bulkhead.nid', true) OR current_setting('bulkhead.nid', true) = '*'
);
ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_days FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON usage_days USING (
    nid = current_setting('bulkhead.nid', true) OR current_setting('bulkhead.nid', true) = '*'
);
