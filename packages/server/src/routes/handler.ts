/** The shape of what does an operation, by its kind in the table. */
import type { OperationName, OperationParams, OperationResult, operations } from '@atoll/protocol/operations';
import type { FileContent } from '@atoll/protocol/runner-link';
import type { Access } from '../keys/access.ts';

/** What a handler knows of its caller, whatever the wire. */
export type Context = {
  access: Access;
  signal: AbortSignal;
  /** W3C Trace Context of this request; goes on to the runner and the bridge. */
  traceparent: string;
};

type Unary<N extends OperationName> = (
  params: OperationParams<N>,
  context: Context,
) => Promise<OperationResult<N>>;
type Streams<N extends OperationName> = {
  json: Unary<N>;
  /** Resolves once it is sure that a stream can begin; what fails before that is an ordinary error. */
  stream: (params: OperationParams<N>, context: Context) => Promise<AsyncIterable<Uint8Array>>;
};
type BytesOut<N extends OperationName> = (
  params: OperationParams<N>,
  context: Context,
) => Promise<FileContent>;
type BytesIn<N extends OperationName> = (
  params: OperationParams<N>,
  context: Context,
  content: AsyncIterable<Uint8Array>,
) => Promise<OperationResult<N>>;

type HandlerOf<N extends OperationName> = (typeof operations)[N] extends { kind: 'stream' }
  ? Streams<N>
  : (typeof operations)[N] extends { rest: { bytes: 'out' } }
    ? BytesOut<N>
    : (typeof operations)[N] extends { rest: { bytes: 'in' } }
      ? BytesIn<N>
      : Unary<N>;

export type Handlers = { [N in OperationName]: HandlerOf<N> };
