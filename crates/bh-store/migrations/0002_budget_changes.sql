-- Changes of budgets that a process may ask for again, because it did not hear whether they were made. A row goes once
-- its process has had the answer.
CREATE TABLE budget_changes (
    nid TEXT NOT NULL,
    holder TEXT NOT NULL,
    id BIGINT NOT NULL,
    granted_nano BIGINT NOT NULL,
    PRIMARY KEY (nid, holder, id)
);
