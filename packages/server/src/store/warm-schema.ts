/** Schema 7: lists of sessions go by when they began, which the ids of those with a warm sandbox do not tell. */
export const warmSchema = `
DROP INDEX sessions_by_tenant;
DROP INDEX sessions_by_agent;
CREATE INDEX sessions_by_tenant ON sessions (tenant, created_at, id);
CREATE INDEX sessions_by_agent ON sessions (tenant, agent, created_at, id);
`;
