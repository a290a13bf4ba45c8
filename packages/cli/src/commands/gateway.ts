/**
 * `atoll gateway`: what an executor finds in a sandbox, for one that runs outside of any. With `--stub` it answers by
 * itself and shows what it would have sent; else it forwards to a coordinator, for one session.
 */
import { newId } from '@atoll/protocol/ids';
import type { StandaloneGateway } from '@atoll/runner/standalone-gateway';
import { codeOf, SetupError, UsageError } from '../failure.ts';
import { wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createLog } from '../log.ts';
import { ownTokens } from '../own-tokens.ts';
import type { Terminal } from '../terminal.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { options, switches, terminal, stopped } = invocation;
  const { session: sessionId } = options;
  if (switches.stub !== true && sessionId === undefined)
    throw new UsageError('--session SESSION is missing (or --stub, to record and send nothing)');
  const port = wholeNumber('port', options.port) ?? 0;
  if (port > 65_535) throw new UsageError('--port must be a whole number from 0 to 65535');
  const gateway = await opened(invocation, port).catch((error) => {
    if (codeOf(error) === 'EADDRINUSE')
      throw new SetupError(`Port ${port} is taken; choose another with --port.`);
    throw error;
  });
  try {
    announce(terminal, gateway.address, sessionId ?? newId('session'));
    await stopped();
  } finally {
    await gateway.close();
  }
}

async function opened(invocation: Invocation, port: number): Promise<StandaloneGateway> {
  const { options, switches, config, terminal } = invocation;
  const { openForwardingGateway, openStubGateway } = await import('@atoll/runner/standalone-gateway');
  const { session: sessionId, profile: executorProfile = 'program' } = options;
  const standing = { hostname: config.hostname, executorProfile, port };
  if (switches.stub === true || sessionId === undefined)
    return openStubGateway({ ...standing, sessionId, onCall: terminal.value });
  const session = { id: sessionId, epoch: wholeNumber('epoch', options.epoch) ?? 1 };
  const { createHttpCoordinator } = await import('@atoll/runner/coordinator');
  const logger = createLog(config.logLevel);
  const tokens = await ownTokens(config, terminal, logger);
  const coordinator = createHttpCoordinator({ url: config.server, tokens, logger });
  // What is wrong with the session or with who asks, a person is told at once, and not the executor later.
  await coordinator.sessionToken({ sessionId, epoch: session.epoch });
  return openForwardingGateway({ ...standing, session, coordinator, logger });
}

/** As assignments, for a shell to take over. */
function announce({ json, value, line }: Terminal, url: string, sessionId: string): void {
  const variables = { ATOLL_API_URL: url, AGENT_ORCHESTRATOR_API_URL: url, ATOLL_SESSION_ID: sessionId };
  if (json) return value(variables);
  for (const [name, text] of Object.entries(variables)) line(`${name}=${text}`);
}
