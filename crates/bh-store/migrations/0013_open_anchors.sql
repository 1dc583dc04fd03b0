-- An anchor whose record is written has no more to say: a row here is one that is still open.
DELETE FROM audit_anchors WHERE open = 0;

DROP INDEX audit_anchors_open;

ALTER TABLE audit_anchors DROP COLUMN open;
