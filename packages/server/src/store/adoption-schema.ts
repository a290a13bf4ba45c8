/** Schema 11: which request of its runner an approval is, so that its answer finds the executor after a restart, too. */
export const adoptionSchema = `
ALTER TABLE approvals ADD COLUMN request_id TEXT;
`;
