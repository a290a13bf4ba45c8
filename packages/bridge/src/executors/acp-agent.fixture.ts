/**
 * For tests: an ACP agent made with ACP's own library, which understands the sentences of the contract suite, keeps its
 * conversations in its home, and misbehaves when it is asked to.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type AgentContext, agent, ndJsonStream, RequestError } from '@agentclientprotocol/sdk';

const { HOME = '.', MOCK = '' } = process.env;
const faults = new Set(MOCK.split(','));
const memory = join(HOME, 'mock-agent');
const models = ['small', 'large'];

type Session = { id: string; facts: string[]; model: string; cancel: AbortController };
const sessions = new Map<string, Session>();

const configOptions = (current: string) =>
  faults.has('no-models')
    ? []
    : [
        {
          id: 'which',
          name: 'Model',
          category: 'model',
          type: 'select' as const,
          currentValue: current,
          options: models.map((value) => ({ value, name: value })),
        },
      ];
const modes = { currentModeId: 'ask', availableModes: ['ask', 'plan'].map((id) => ({ id, name: id })) };

const fileOf = (id: string) => join(memory, `${id.replaceAll('/', '_')}.json`);

function open(id: string, facts: string[]): Session {
  const session = { id, facts, model: 'small', cancel: new AbortController() };
  sessions.set(id, session);
  mkdirSync(memory, { recursive: true });
  writeFileSync(fileOf(id), JSON.stringify(facts));
  return session;
}

function sessionOf(id: string): Session {
  const session = sessions.get(id);
  if (!session) throw RequestError.resourceNotFound(id);
  return session;
}

if (faults.has('mute')) setInterval(() => undefined, 60_000);
else serve();

function serve(): void {
  const app = agent({ name: 'mock' })
    .onRequest('initialize', () => ({
      protocolVersion: faults.has('future') ? 7 : 1,
      agentCapabilities: {
        loadSession: !faults.has('no-load'),
        promptCapabilities: { image: faults.has('images') },
        ...(faults.has('resume') && { sessionCapabilities: { resume: {} } }),
      },
    }))
    .onRequest('session/new', ({ params }) => {
      if (faults.has('auth')) throw RequestError.authRequired();
      const id = faults.has('odd-name') ? `odd/${crypto.randomUUID()}` : crypto.randomUUID();
      const session = open(id, []);
      process.stderr.write(`servers ${JSON.stringify(params.mcpServers)}\n`);
      return { sessionId: session.id, configOptions: configOptions('small'), modes };
    })
    .onRequest('session/load', async ({ params, client }) => {
      const session = restore(params.sessionId);
      for (const fact of session.facts) await say(client, session.id, `replayed ${fact}`);
      return { configOptions: configOptions('small'), modes };
    })
    .onRequest('session/resume', ({ params }) => {
      restore(params.sessionId);
      process.stderr.write('resumed without a replay\n');
      return { configOptions: configOptions('small'), modes };
    })
    .onRequest('session/set_config_option', ({ params }) => {
      if (!('value' in params) || !models.includes(String(params.value)))
        throw RequestError.invalidParams({ details: 'no such model' });
      sessionOf(params.sessionId).model = String(params.value);
      return { configOptions: configOptions(String(params.value)) };
    })
    .onRequest('session/set_mode', ({ params }) => {
      process.stderr.write(`mode ${params.modeId}\n`);
      return {};
    })
    .onNotification('session/cancel', ({ params }) => {
      if (!faults.has('deaf')) sessionOf(params.sessionId).cancel.abort();
    })
    .onRequest('session/prompt', async ({ params, client }) => {
      const session = sessionOf(params.sessionId);
      session.cancel = new AbortController();
      const [first] = params.prompt;
      const said = first?.type === 'text' ? first.text : '';
      const kinds = params.prompt.map(({ type }) => type).join(',');
      const stopReason = await answer(client, session, said, kinds);
      const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15, cachedReadTokens: 3 };
      return { stopReason: session.cancel.signal.aborted ? 'cancelled' : stopReason, usage };
    });
  const output = Writable.toWeb(process.stdout) as WritableStream<Uint8Array>;
  app.connect(ndJsonStream(output, Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>));
}

function restore(id: string): Session {
  if (!existsSync(fileOf(id))) throw RequestError.resourceNotFound(id);
  return open(id, JSON.parse(readFileSync(fileOf(id), 'utf8')));
}

function say(client: AgentContext, sessionId: string, text: string): Promise<void> {
  const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } } as const;
  return client.notify('session/update', { sessionId, update });
}

type Stop = 'end_turn' | 'max_tokens' | 'max_turn_requests' | 'refusal' | 'cancelled';

async function answer(client: AgentContext, session: Session, said: string, kinds: string): Promise<Stop> {
  const { id, facts, cancel } = session;
  const [word = '', rest = ''] = /^(\S+) ?(.*)$/s.exec(said)?.slice(1) ?? [];
  if (word === 'remember') await remember(client, session, rest);
  else if (word === 'count') await count(client, id, cancel.signal);
  else if (word === 'fail') throw RequestError.internalError({ details: 'The model failed.' });
  else if (word === 'stop') return rest as Stop;
  else if (word === 'model') await say(client, id, session.model);
  else if (word === 'kinds') await say(client, id, kinds);
  else if (word === 'ask') await say(client, id, JSON.stringify(await ask(client, id, rest)));
  else if (word === 'storm') await storm(client, id, Number(rest));
  else if (word === 'question') await say(client, id, JSON.stringify(await question(client, id)));
  else if (word === 'write') await say(client, id, await outside(client, id, rest));
  else if (word === 'cost') await spend(client, id, Number(rest));
  else if (word === 'raw') await raw(JSON.parse(rest));
  else if (word === 'endless') for (let mib = 0; mib < 40; mib++) await raw('x'.repeat(1024 * 1024));
  else if (word === 'crash') process.exit(7);
  else
    await say(
      client,
      id,
      said.startsWith('what do you') ? `I remember: ${facts.join('; ')}` : `You said: ${said}`,
    );
  return 'end_turn';
}

function remember(client: AgentContext, { id, facts }: Session, fact: string): Promise<void> {
  facts.push(fact);
  writeFileSync(fileOf(id), JSON.stringify(facts));
  return say(client, id, `I will remember ${fact}`);
}

async function count(client: AgentContext, id: string, signal: AbortSignal): Promise<void> {
  for (let number = 1; number <= 1000 && !signal.aborted; number++) {
    await say(client, id, `${number} `);
    await delay(20);
  }
}

/** Bytes to stdout, as they are. */
function raw(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

async function ask(client: AgentContext, sessionId: string, words: string): Promise<unknown> {
  const [title = '', kind = 'edit', path = 'a.txt'] = words.split(' ');
  const toolCallId = crypto.randomUUID();
  const update = {
    sessionUpdate: 'tool_call',
    toolCallId,
    title,
    kind: kind as 'edit',
    status: 'pending',
  } as const;
  await client.notify('session/update', { sessionId, update });
  const options = [
    { optionId: 'for-ever', name: 'Always', kind: 'allow_always' as const },
    { optionId: 'once', name: 'Once', kind: 'allow_once' as const },
    { optionId: 'no', name: 'No', kind: 'reject_once' as const },
  ];
  const toolCall = { toolCallId, title: `${title} ${path}`, rawInput: { path } };
  const decided: unknown = await client.request('session/request_permission', {
    sessionId,
    toolCall,
    options,
  });
  return Object(decided).outcome;
}

async function storm(client: AgentContext, sessionId: string, count: number): Promise<void> {
  const asked = Array.from({ length: count }, (_, number) =>
    ask(client, sessionId, `Bash execute ${number}`),
  );
  const outcomes = await Promise.all(asked);
  const denied = outcomes.filter((outcome) => JSON.stringify(outcome).includes('"no"'));
  await say(client, sessionId, `${denied.length} of ${count} denied`);
}

function question(client: AgentContext, sessionId: string): Promise<unknown> {
  return client.request('elicitation/create', {
    sessionId,
    mode: 'form',
    message: 'Which way, and how far?',
    requestedSchema: {
      type: 'object',
      properties: {
        way: {
          type: 'string',
          title: 'Way',
          oneOf: [
            { const: 'n', title: 'north' },
            { const: 's', title: 'south' },
          ],
        },
        miles: { type: 'number', title: 'Miles' },
      },
    },
  });
}

/** What nobody offered. */
async function outside(client: AgentContext, sessionId: string, path: string): Promise<string> {
  try {
    await client.request('fs/write_text_file', { sessionId, path, content: '' });
    return 'written';
  } catch (error) {
    return `refused ${error instanceof RequestError ? error.code : String(error)}`;
  }
}

async function spend(client: AgentContext, sessionId: string, amount: number): Promise<void> {
  const update = {
    sessionUpdate: 'usage_update',
    used: 1,
    size: 2,
    cost: { amount, currency: 'USD' },
  } as const;
  await client.notify('session/update', { sessionId, update });
}
