/**
 * Schema 10: what is looked for by its age, and the compaction of logs.
 *
 * The indexes hold few columns that a turn changes, and none of them changes with one: a session enters `sessions_paused`
 * when it is paused, and `sessions_ended` when it ends. `turns.partials` marks turns with partial messages that are not
 * compacted yet. `logs.compactions` counts what changed in a log that is only appended to otherwise.
 */
export const retentionSchema = `
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_paused ON sessions (updated_at) WHERE status = 'paused';

ALTER TABLE turns ADD COLUMN partials INTEGER NOT NULL DEFAULT 0 CHECK (partials IN (0, 1));
CREATE INDEX turns_with_partials ON turns (ended_at) WHERE partials = 1;

ALTER TABLE logs ADD COLUMN compactions INTEGER NOT NULL DEFAULT 0;
CREATE INDEX logs_erased ON logs (id) WHERE erased = 1;
`;
