-- What happened to one object, in order of time.
CREATE INDEX audit_events_by_object ON audit_events (nid, object, id);
-- Failed verifications of all tenants in order of time: of all events these alone go, when they are old.
CREATE INDEX audit_events_failed ON audit_events (id, nid) WHERE action = 'key.verification_failed';
