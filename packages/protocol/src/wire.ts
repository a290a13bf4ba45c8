/**
 * The version of everything on the wires. `wire.test.ts` pins a hash of all wire schemas to the latest line below:
 * any change of a schema fails there until a version is added here, with one line saying why.
 */
export const protocolVersions = [{ version: 1, why: 'first', hash: 'b9ea7744628fe213' }] as const;

export const PROTOCOL_VERSION = 1;
