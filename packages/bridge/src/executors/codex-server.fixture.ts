/** For tests: an app-server that answers as Codex does, and misbehaves when the user says so. */
import { createInterface } from 'node:readline';

const THREAD = '01a1fe11-2da8-7281-8f15-58392784d9d7';
const HUGE_BYTES = 33 * 1024 * 1024;
const STORM = 100;
let resumed = false;
let answers: ((line: { result?: { decision?: string } }) => void) | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params, ...answer } = JSON.parse(line);
  if (method === undefined) answers?.(answer);
  else if (method.startsWith('thread/')) {
    resumed = method === 'thread/resume';
    send({ id, result: { thread: { id: params.threadId ?? THREAD }, model: 'm' } });
  } else if (method === 'turn/start') {
    send({ id, result: { turn: { id: 'turn' } } });
    misbehave(params.input[0].text);
  } else if (id !== undefined && process.env.SILENT !== method) send({ id, result: {} });
}

function misbehave(said: string): void {
  if (said === 'crash') {
    process.stderr.write('out of luck\n');
    process.exit(7);
  }
  if (said === 'huge') process.stdout.write(`{"method":"x","params":{"a":"${'a'.repeat(HUGE_BYTES)}"}}\n`);
  else if (said === 'storm') storm();
  else if (said.startsWith('raw ')) process.stdout.write(JSON.parse(said.slice(4)), 'latin1');
  else complete(resumed ? 'resumed' : 'new');
}

/** More questions at once than anybody is to be asked. */
function storm(): void {
  const decisions: unknown[] = [];
  answers = ({ result }) => {
    decisions.push(result?.decision);
    if (decisions.length === STORM)
      complete(`declined ${decisions.filter((one) => one === 'decline').length}`);
  };
  for (let id = 0; id < STORM; id++)
    send({
      method: 'item/commandExecution/requestApproval',
      id: `ask-${id}`,
      params: { threadId: THREAD, turnId: 'turn', command: `echo ${id}` },
    });
}

function complete(text: string): void {
  const ours = { threadId: THREAD, turnId: 'turn' };
  send({ method: 'item/completed', params: { item: { type: 'agentMessage', text }, ...ours } });
  send({ method: 'turn/completed', params: { ...ours, turn: { id: 'turn', status: 'completed' } } });
}

function send(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
