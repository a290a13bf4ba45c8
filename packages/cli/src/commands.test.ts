/** Every command against a real server with a real sandbox, as a person would type it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { asking } from '../../../testing/agents.ts';
import { type Atoll, deploy, startAtoll, until } from '../../../testing/atoll.ts';

const main = join(import.meta.dirname, 'main.mjs');
const notes = join(import.meta.dirname, '../../../examples/02-program');
const scratch = mkdtempSync(join(tmpdir(), 'atoll-cli-test-'));
let server: Atoll;

before(async () => {
  server = await startAtoll({ args: ['--capacity', '2'] });
});
after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

type Running = {
  stdout: string;
  stderr: string;
  kill(signal: NodeJS.Signals): void;
  ended: Promise<Outcome>;
};
type Outcome = { code: number | null; stdout: string; stderr: string };

function start(words: readonly string[], stdin = ''): Running {
  const env = {
    PATH: process.env.PATH,
    HOME: scratch,
    ATOLL_SERVER: server.url,
    ATOLL_DATA_DIR: server.dataDir,
  };
  const child = spawn(process.execPath, [main, ...words], { cwd: scratch, env });
  const ended = new Promise<Outcome>((resolve) =>
    child.on('close', (code) => resolve({ code, stdout: running.stdout, stderr: running.stderr })),
  );
  const running: Running = { stdout: '', stderr: '', ended, kill: (signal) => void child.kill(signal) };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    running.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    running.stderr += chunk;
  });
  child.stdin.end(stdin);
  return running;
}

const atoll = (...words: string[]) => start(words).ended;

/** What a command that must work printed. */
async function output(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await atoll(...words);
  assert.equal(code, 0, `atoll ${words.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

const json = async (...words: string[]) =>
  JSON.parse(await output(...words, '--json')) as Record<string, unknown>;

test('deploy and agents', async () => {
  assert.equal(await output('deploy', notes, '--name', 'notes'), 'Deployed notes, version 1 (3 files).\n');
  assert.match(await output('agents'), /^NAME +VERSION +DEPLOYED\nnotes +1 /);
  assert.match(await output('agents', 'show', 'notes'), /^notes {2}version 1\n {2}1 +3 files/);
  await output('deploy', notes, '--name', 'gone');
  assert.equal(await output('agents', 'delete', 'gone'), 'Removed gone and its versions.\n');
  const { agents } = (await json('agents')) as { agents: { name: string }[] };
  assert.deepEqual(
    agents.map((agent) => agent.name),
    ['notes'],
  );
});

test('run: the answer, and no session left', async () => {
  assert.equal(await output('run', 'notes', 'buy bread'), 'Noted: buy bread\n✓ done\n');
  const fromStdin = await start(['run', 'notes'], 'from a pipe').ended;
  assert.match(fromStdin.stdout, /Noted: from a pipe/);
  const failed = await atoll('run', 'notes', 'list');
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /✗ .*ENOENT/);
  assert.equal(failed.stderr, '');
  const { sessions } = (await json('session', 'list')) as { sessions: { status: string }[] };
  assert.deepEqual([...new Set(sessions.map((session) => session.status))], ['ended']);
});

test('a session: send, files, exec, attach, end', async () => {
  const id = (await output('session', 'create', 'notes')).trim();
  assert.match(await output('session', 'send', id, 'one'), /Noted: one/);
  const lines = (await output('session', 'send', id, 'two', '--json')).trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { event: string });
  assert.deepEqual([events[0]?.event, events.at(-1)?.event], ['ready', 'done']);
  assert.match(await output('session', 'show', id), /status +idle\n +agent +notes, version 1/);

  assert.equal(await output('session', 'files', 'read', id, 'notes.txt'), 'one\ntwo\n');
  writeFileSync(join(scratch, 'up.txt'), 'up');
  assert.equal(
    await output('session', 'files', 'write', id, 'a/up.txt', 'up.txt'),
    'Created a/up.txt (2 bytes).\n',
  );
  await output('session', 'files', 'read', id, 'a/up.txt', '--output', 'down.txt');
  assert.equal(readFileSync(join(scratch, 'down.txt'), 'utf8'), 'up');
  assert.match(await output('session', 'files', 'list', id), /^SIZE .*\n[\s\S]*a\/up\.txt\n/);
  assert.equal(await output('session', 'files', 'delete', id, 'a/up.txt'), 'Removed a/up.txt.\n');
  const none = await atoll('session', 'files', 'read', id, 'a/up.txt');
  assert.deepEqual([none.code, none.stdout], [1, '']);

  assert.equal(await output('session', 'exec', id, '--', 'echo', "it's", '$HOME'), "it's $HOME\n");
  assert.equal(await output('session', 'exec', id, 'cat notes.txt | wc -l'), '2\n');
  const exec = await atoll('session', 'exec', id, 'echo out; echo err >&2; exit 3');
  assert.deepEqual(exec, { code: 1, stdout: 'out\n', stderr: 'err\nThe command exited with 3.\n' });

  const attached = start(['session', 'attach', id]);
  await until(async () => attached.stdout.includes('> two'));
  assert.match(await output('session', 'end', id), /is ended\.\n$/);
  const seen = await attached.ended;
  assert.equal(seen.code, 0, 'the end of the session is the end of the stream');
  assert.match(seen.stdout, /> one\nNoted: one\n[\s\S]*> two\nNoted: two\n[\s\S]*· session ended/);
});

test('fork, state, and a session as a line', async () => {
  const id = (await output('session', 'create', 'notes')).trim();
  await output('session', 'send', id, 'first');
  const { session } = (await json('session', 'state', id)) as { session: { lastSeq: number } };
  await output('session', 'send', id, 'second');
  const at = String(session.lastSeq);
  const { stdout, stderr, code } = await atoll('session', 'fork', id, '--at', at);
  assert.equal(code, 0);
  assert.match(stderr, new RegExp(`^It was forked from ${id} after event ${at}\\.`));
  const fork = stdout.trim();
  assert.match(await output('session', 'state', fork), /at +20.*\n +status +paused: .*\(forked\)\n/);
  assert.match(
    await output('session', 'state', id, '--at', at),
    new RegExp(`at +event ${at}\n +status +idle\n`),
  );
  assert.match(await output('session', 'state', id, '--at', '2001-01-01T00:00:00Z'), /had not begun/);
  const parent = await output('session', 'show', id);
  assert.match(
    parent,
    /● first .*\n.*◆ snapshot \d+ files, .* new\n.*├─ forked as ses_\w+ \(paused\)\n.*● second /,
  );
  const shown = await output('session', 'show', fork);
  assert.match(
    shown,
    new RegExp(`forked +from ${id} after event ${at}\n[\\s\\S]*● first [\\s\\S]*╰─ forked from ${id} after`),
  );
  assert.ok(!shown.includes('● second'));
  assert.equal((await atoll('session', 'fork', id, '--at', '0')).code, 1);
  const changed = await atoll('session', 'diff', id, '--from', at);
  assert.match(
    changed.stdout,
    /^diff --git a\/notes.txt b\/notes.txt\n--- .*\n.*\n@@ -1 \+1,2 @@\n first\n\+second\n$/,
  );
  assert.match(changed.stderr, /^from event \d+ to now\n$/);
  assert.equal(
    await output('session', 'diff', id, '--to', at, '--stat'),
    'A notes.txt      1 +\n1 change, 1 line added, 0 removed\n',
  );
  assert.equal((await atoll('session', 'diff', id, '--from', '1000')).code, 1);
  for (const one of [id, fork]) await output('session', 'end', one);
});

test('approve: what waits is listed, and answered once', async () => {
  await deploy(server.client, 'asking', asking);
  const id = (await output('session', 'create', 'asking')).trim();
  assert.equal(await output('session', 'approve', id), 'Nothing waits for a decision.\n');
  const call = { tool: 'Bash', input: { command: 'ls\u001b[2J' } };
  const sending = start(['session', 'send', id, JSON.stringify({ ask: [call] })]);
  await until(async () => sending.stdout.includes('--allow'));
  const [, approval = ''] = / (appr_\w+) /.exec(sending.stdout) ?? [];
  assert.match(await output('session', 'approve', id), new RegExp(`^APPROVAL .*\n${approval} +Bash `));
  for (const wrong of [['--allow'], [approval], [approval, '--allow', '--deny']])
    assert.equal((await atoll('session', 'approve', id, ...wrong)).code, 2);
  assert.match(
    await output('session', 'approve', id, approval, '--deny', '--message', 'no'),
    /^Denied: Bash /,
  );
  const { code, stdout } = await sending.ended;
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^\? Bash .*\n {2}atoll session approve ses_\w+ appr_\w+ --allow .*\n· Bash denied: no\n/,
  );
  assert.ok(!stdout.includes('\u001b'));
  const again = await atoll('session', 'approve', id, approval, '--allow');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /answered or cancelled before/);
  await output('session', 'end', id);
});

test('Ctrl-C: send leaves the turn, run ends its session, and the code is 130', async () => {
  writeFileSync(
    join(scratch, 'atoll.json'),
    '{"executor":{"kind":"program","command":["node","agent.mjs"]}}',
  );
  const source =
    'process.stdin.on("data", () => console.log(\'{"type":"hello"}\')); process.on("SIGINT", () => process.exit(0));';
  writeFileSync(join(scratch, 'agent.mjs'), source);
  await output('deploy', scratch, '--name', 'waits');
  const id = (await output('session', 'create', 'waits')).trim();
  const sending = start(['session', 'send', id, 'go']);
  await until(async () => sending.stdout.includes('hello'));
  sending.kill('SIGINT');
  const left = await sending.ended;
  assert.equal(left.code, 130);
  assert.match(left.stderr, /The turn goes on\. To stop it: atoll session interrupt/);
  assert.match(await output('session', 'show', id), /status +running/);
  assert.match(await output('session', 'interrupt', id), /^Interrupted/);
  await output('session', 'end', id);

  const running = start(['run', 'waits', 'go', '--json']);
  await until(async () => running.stdout.includes('hello'));
  running.kill('SIGINT');
  const ended = await running.ended;
  assert.equal(ended.code, 130);
  const { session } = JSON.parse(ended.stdout.split('\n')[0] ?? '') as { session: { id: string } };
  assert.match(await output('session', 'show', session.id), /status +ended/);
});

test('keys', async () => {
  const { key, secret } = (await json('keys', 'create', '--name', 'ci')) as {
    key: { id: string };
    secret: string;
  };
  assert.match(await output('agents', '--key', secret), /notes/);
  assert.match(await output('keys'), new RegExp(`${key.id} +client +\\S+ +never +ci`));
  assert.equal(await output('keys', 'delete', key.id), `Revoked ${key.id}.\n`);
  assert.equal((await atoll('agents', '--key', secret)).code, 1);
});

test('credentials: set from stdin and from a file, list, delete', async () => {
  const value = 'mark-4f1b0c';
  const set = (words: string[], stdin: string) => start(['credential', 'set', ...words], stdin).ended;
  const seen: Outcome[] = [];
  const basic = ['github', '--kind', 'basic', '--host', 'github.com', '--host', '*.github.com'];
  seen.push(await set([...basic, '--username', 'x-access-token', '--agent', 'notes'], `${value}\n`));
  assert.match(seen[0]?.stdout ?? '', /^Stored github, version 1 \(fingerprint [0-9a-f]{8}\)\.\n$/);
  writeFileSync(join(scratch, 'token'), value);
  const mcp = ['linear', '--kind', 'mcp', '--url', 'https://mcp.example.org/mcp', '--value-file', 'token'];
  seen.push(await set([...mcp, '--json'], ''), await set(basic.concat('--username', 'y'), `${value}2`));
  assert.match(seen[2]?.stdout ?? '', /^Stored github, version 2 /);

  const list = await output('credentials');
  assert.match(list, /^CREDENTIAL +KIND +VERSION +FINGERPRINT +SET +AGENTS +FOR\ngithub +basic +2 /);
  assert.match(list, /linear +mcp +1 +[0-9a-f]{8} +\S+ +all +https:\/\/mcp\.example\.org\/mcp\n$/);
  assert.equal(await output('credential', 'delete', 'linear'), 'Removed linear.\n');

  const refused: [words: string[], code: number, says: RegExp][] = [
    [['x'], 2, /--kind must be one of header, bearer/],
    [['x', '--kind', 'bearer', value], 2, /never an argument/],
    [['x', '--kind', 'bearer'], 1, /"hosts" is missing \(invalid_request\)/],
    [['x', '--kind', 'bearer', '--host', '*'], 1, /"hosts\.0": must be a host name/],
    [['x', '--kind', 'openai', '--username', 'y'], 1, /unknown field "username"/],
    [['x', '--kind', 'openai', '--value-file', 'none'], 1, /cannot read none/],
  ];
  for (const [words, code, says] of refused) {
    const outcome = await set(words, value);
    assert.equal(outcome.code, code, words.join(' '));
    assert.match(outcome.stderr, says);
    seen.push(outcome);
  }
  const empty = await set(['x', '--kind', 'openai'], '\n');
  assert.deepEqual([empty.code, empty.stderr.split('\n')[0]], [2, 'the value is empty']);
  assert.equal((await atoll('credential', 'delete', 'linear')).code, 1);
  assert.ok(!(list + JSON.stringify(seen)).includes('mark'));
  await output('credential', 'delete', 'github');
});

test('doctor, and a second server on the same port or data directory', async () => {
  const { findings } = (await json('doctor')) as { findings: { what: string; status: string }[] };
  assert.deepEqual(findings.find((finding) => finding.what === 'Server')?.status, 'ok');
  const { port } = new URL(server.url);
  const taken = await atoll('start', '--port', port, '--data-dir', join(scratch, 'other'));
  assert.deepEqual([taken.code, taken.stdout], [1, '']);
  assert.match(taken.stderr, /^Port \d+ on 127\.0\.0\.1 is taken; choose another with --port\.\n$/);
  const second = await atoll('start', '--port', '0');
  assert.equal(second.code, 1);
  assert.match(second.stderr, /already uses this data directory/);
});

test('doctor and start look at executor profiles', async () => {
  const configure = (executorProfiles: object) =>
    writeFileSync(join(scratch, 'atoll.config.json'), JSON.stringify({ executorProfiles }));
  try {
    configure({ scribe: { kind: 'program', command: ['no-such-scribe'] } });
    const doctor = await atoll('doctor', '--json');
    assert.equal(doctor.code, 1);
    const { findings } = JSON.parse(doctor.stdout) as { findings: Record<string, string>[] };
    const about = (name: string) => findings.find(({ what }) => what === `Executor ${name}`);
    assert.equal(about('program')?.status, 'ok');
    assert.equal(about('scribe')?.status, 'missing');
    assert.match(about('scribe')?.detail ?? '', /^cannot run here: no-such-scribe is not found in/);
    assert.match(about('scribe')?.mend ?? '', /"command" of executorProfiles\.scribe/);
    configure({ scribe: { kind: 'vm' } });
    const broken = await atoll('start', '--port', '0', '--data-dir', join(scratch, 'profiles'));
    assert.deepEqual([broken.code, broken.stdout], [2, '']);
    assert.match(broken.stderr, /executorProfiles: "scribe\.kind"/);
  } finally {
    rmSync(join(scratch, 'atoll.config.json'));
  }
});

test('a data directory that cannot be made is told, and what is missing above one is made', async () => {
  const nowhere = await atoll('start', '--port', '0', '--data-dir', '/proc/nothing');
  assert.deepEqual([nowhere.code, nowhere.stdout], [1, '']);
  assert.match(nowhere.stderr, /^cannot use the data directory \/proc\/nothing: ENOENT/);
  writeFileSync(join(scratch, 'file'), '');
  const file = await atoll('start', '--port', '0', '--data-dir', join(scratch, 'file', 'data'));
  assert.equal(file.code, 1);
  assert.match(file.stderr, /^cannot use the data directory .*: ENOTDIR/);
  const deep = start(['start', '--port', '0', '--data-dir', join(scratch, 'some', 'where', 'data')]);
  await until(async () => deep.stdout.includes('listens'));
  deep.kill('SIGTERM');
  assert.equal((await deep.ended).code, 0);
});
