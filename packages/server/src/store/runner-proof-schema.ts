/** Schema 13: by what a runner is known again when the server that it registered with is not there any more. */
export const runnerProofSchema = `
ALTER TABLE runners ADD COLUMN callback_hash TEXT;
`;
