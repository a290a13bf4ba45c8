import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { createBench, until } from '../driver.bench.ts';
import { callsContract } from '../driver.calls.ts';
import { isolationContract } from '../driver.isolation.ts';
import { createBubblewrapDriver } from './bubblewrap.ts';
import { findProcess } from './processes.ts';

const make = (dataDir: string) => createBubblewrapDriver({ dataDir });

isolationContract('bubblewrap', make);
callsContract('bubblewrap', make);

describe('what is bubblewrap’s own', { concurrency: false }, () => {
  const bench = createBench(make);
  before(() => bench.open());
  after(() => bench.close());
  const inside = async (...command: string[]) => (await bench.runCommand(command)).output;

  it('finds nothing in pid 1', async () => {
    const { output } = await bench.runCommand(
      [
        'sh',
        '-c',
        'od -c /proc/1/environ | head -1; tr "\\0" " " < /proc/1/cmdline; tr "\\0" "\\n" < /proc/self/environ',
      ],
      { env: { MARK: 'given' } },
    );
    const [environ, ...rest] = output.split('\n');
    assert.match(environ ?? '', /^0+$/);
    assert.match(rest.join('\n'), /^bwrap --args 5 -- sh -c /);
    assert.doesNotMatch(output, new RegExp(bench.dataDir));
    assert.match(output, /^MARK=given$/m);
  });

  it('inherits stdio and the channel, nothing else', async () => {
    const fds = await inside(
      'sh',
      '-c',
      'for p in 1 $$; do ls -1 /proc/$p/fd 2>/dev/null; done; echo; ls -l /proc/$$/fd',
    );
    const own = (fds.split('\n\n')[1] ?? '')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => / (\d+) -> (.*)$/.exec(line) ?? []);
    assert.deepEqual(own.map(([, fd]) => fd).sort(), ['0', '1', '2', '3']);
    assert.equal(own.find(([, fd]) => fd === '0')?.[2], '/dev/null');
    assert.match(own.find(([, fd]) => fd === '3')?.[2] ?? '', /^socket:/);
  });

  it('ends within its namespace whatever the moment of the kill', async () => {
    for (let round = 0; round < 20; round++) {
      const sandbox = await bench.start(['sh', '-c', 'sleep 777.5 & sleep 777.5']);
      sandbox.output.resume();
      if (round % 2 === 0) sandbox.kill('ended');
      else process.kill(sandbox.pid, 'SIGKILL');
      assert.equal((await sandbox.exited).cause, round % 2 === 0 ? 'ended' : 'killed');
      assert.equal(await findProcess(sandbox.pid), undefined);
    }
    await until(() => !readdirSync('/proc').some((pid) => readCommand(pid).startsWith('sleep\x00777.5')));
  });
});

function readCommand(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // No process, or none any more.
  }
}
