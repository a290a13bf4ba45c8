/** Atoll's wire contract. Browser-safe. Each module is also importable by its own name, e.g. `@atoll/protocol/sse`. */
export { AtollError, type ErrorCode, errorRegistry, isErrorCode, type Problem } from './errors.ts';
export { type EventData, type EventName, eventSchemas, type Usage } from './events.ts';
export { idPattern, newId } from './ids.ts';
export type { Operation } from './operation.ts';
export {
  type OperationInput,
  type OperationName,
  type OperationParams,
  type OperationResult,
  operations,
} from './operations.ts';
export { createSseParser, type SseEvent, sseFrame } from './sse.ts';
export type { SandboxStatus, SessionStatus, TurnStatus } from './statuses.ts';
export { PROTOCOL_VERSION } from './wire.ts';
