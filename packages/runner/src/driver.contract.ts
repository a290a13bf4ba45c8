import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { createBench, hostProcessesOf, nodeCommand, said, until } from './driver.bench.ts';
import type { Driver } from './driver.ts';
import { descendants, listProcesses } from './drivers/processes.ts';

const forever = 'setInterval(() => {}, 1000);';
/** fd 3, or the socket in its place. */
const echo =
  'const net = require("net"), at = process.env.ATOLL_RUNNER_SOCKET, s = at ? net.connect({path: at, allowHalfOpen: true}) : new net.Socket({fd: 3}); s.pipe(s);';

/**
 * What every driver does alike. `make` gives a driver on an empty data directory. `ownKernel`: what runs inside is no
 * process of the host's, where only what runs the sandbox is seen, by its directory.
 */
export function driverContract(
  name: string,
  make: (dataDir: string) => Driver,
  { ownKernel = false } = {},
): void {
  describe(`driver contract: ${name}`, { concurrency: false }, () => {
    const bench = createBench(make);
    before(() => bench.open());
    after(() => bench.close());
    const onHost = (word: string) => hostProcessesOf(ownKernel ? bench.dataDir : word);

    it('can run here', async () => {
      assert.deepEqual(await bench.driver.check(), []);
    });

    it('runs a command and tells its output and exit code', async () => {
      const { exit, output } = await bench.run(
        'console.log("out"); console.error("err"); process.exitCode = 7',
      );
      assert.match(output, /out/);
      assert.match(output, /err/);
      assert.deepEqual({ ...exit, detail: '' }, { cause: 'exited', detail: '', exitCode: 7, signal: null });
      assert.match(exit.detail, /exit code 7/);
    });

    it('keeps output that is read only after the end', async () => {
      const sandbox = await bench.start(nodeCommand('console.log("late")'));
      await sandbox.exited;
      assert.match(await text(sandbox.output), /late/);
    });

    it('carries bytes both ways over the channel', async () => {
      const sandbox = await bench.start(nodeCommand(`${echo} s.on("end", () => process.exit(0))`));
      sandbox.output.resume();
      const sent = Buffer.alloc(300_000, 'atoll ');
      const received: Buffer[] = [];
      let count = 0;
      const all = new Promise<void>((resolve) => {
        sandbox.channel.on('data', (chunk: Buffer) => {
          received.push(chunk);
          count += chunk.length;
          if (count >= sent.length) resolve();
        });
      });
      sandbox.channel.write(sent);
      await all;
      assert.ok(Buffer.concat(received).equals(sent));
      sandbox.channel.end();
      assert.equal((await sandbox.exited).exitCode, 0);
    });

    it('gives the environment exactly as told', async () => {
      const env = { GREETING: 'it\'s = a\n"test" $HOME', EMPTY: '' };
      const { output } = await bench.run('console.log(JSON.stringify(process.env))', { env });
      const { PATH, HOME, USER, LOGNAME, SHELL, TMPDIR, LANG, ...rest } = JSON.parse(output) as Record<
        string,
        string
      >;
      for (const value of [PATH, HOME, USER, LOGNAME, SHELL, TMPDIR, LANG]) assert.ok(value);
      // A shell on the way names the directory it is in.
      delete rest.PWD;
      delete rest.OLDPWD;
      delete rest.SHLVL;
      delete rest._;
      delete rest.ATOLL_RUNNER_SOCKET;
      assert.deepEqual(rest, env);
    });

    it('keeps workspace and home from one start to the next', async () => {
      const write =
        'const fs = require("fs"); fs.writeFileSync("w", "1"); fs.writeFileSync(process.env.HOME + "/h", "2")';
      assert.equal((await bench.run(write)).exit.exitCode, 0);
      const read =
        'const fs = require("fs"); console.log(fs.readFileSync("w", "utf8") + fs.readFileSync(process.env.HOME + "/h", "utf8"))';
      assert.equal((await bench.run(read)).output.trim(), '12');
      assert.equal(readFileSync(join(bench.directory, 'workspace', 'w'), 'utf8'), '1');
      assert.equal(readFileSync(join(bench.directory, 'home', 'h'), 'utf8'), '2');
    });

    it('shows read-only mounts', async () => {
      const source = join(bench.dataDir, 'shared', 'thing');
      mkdirSync(source, { recursive: true });
      writeFileSync(join(source, 'file'), 'shown');
      const sandbox = await bench.start(['cat', '/opt/thing/file'], {
        readOnly: [{ source, target: '/opt/thing' }],
      });
      assert.equal(await text(sandbox.output), 'shown');
      await sandbox.exited;
    });

    it('prepares idempotently', async () => {
      writeFileSync(join(bench.directory, 'workspace', 'kept'), 'kept');
      const owner = await bench.driver.prepare(bench.directory);
      assert.deepEqual(await bench.driver.prepare(bench.directory), owner);
      assert.equal(readFileSync(join(bench.directory, 'workspace', 'kept'), 'utf8'), 'kept');
    });

    it('ends with the first cause given, however often it is killed', async () => {
      const sandbox = await bench.start(nodeCommand(forever));
      sandbox.output.resume();
      sandbox.kill('evicted');
      sandbox.kill('ended');
      const exit = await sandbox.exited;
      assert.equal(exit.cause, 'evicted');
      sandbox.kill('ended');
      assert.equal((await sandbox.exited).cause, 'evicted');
    });

    it('takes the whole tree along', async () => {
      const child =
        'require("child_process").spawn("sleep", ["1000.25"], {stdio: "ignore", detached: true}); console.log("up");';
      const sandbox = await bench.start(nodeCommand(`${child}${forever}`));
      await said(sandbox, 'up');
      assert.ok((await sandbox.usage()).processes >= 2);
      assert.ok(onHost('sleep 1000.25').length > 0);
      sandbox.kill('ended');
      await sandbox.exited;
      assert.deepEqual(onHost('sleep 1000.25'), []);
    });

    it('freezes and thaws', async () => {
      const sandbox = await bench.start(nodeCommand(`${echo} console.log("up")`));
      await said(sandbox, 'up');
      await sandbox.freeze();
      sandbox.channel.write('ping');
      const states = descendants(await listProcesses(), sandbox.pid).filter(
        (entry) => entry.pid !== sandbox.pid,
      );
      // The outermost process may itself be the command, or a keeper outside of what is frozen.
      if (!ownKernel) for (const { state } of states) assert.match(state, /[TD]/);
      assert.equal(sandbox.channel.readableLength, 0);
      await sandbox.thaw();
      assert.equal(String((await once(sandbox.channel, 'data'))[0]), 'ping');
      await sandbox.freeze();
      sandbox.kill('ended');
      assert.equal((await sandbox.exited).cause, 'ended');
    });

    it('freezes and thaws whoever starts programs all the time', async () => {
      const sandbox = await bench.start(['/bin/sh', '-c', 'while :; do /bin/true; echo .; done']);
      await said(sandbox, '.');
      for (let times = 0; times < 40; times++) {
        await sandbox.freeze();
        await sandbox.thaw();
      }
      await once(sandbox.output, 'data');
      sandbox.kill('ended');
      await sandbox.exited;
    });

    it('tells what it uses', async () => {
      const sandbox = await bench.start(
        nodeCommand(`const b = Buffer.alloc(100 << 20, 1); console.log("up"); ${forever}`),
      );
      await said(sandbox, 'up');
      const usage = await sandbox.usage();
      assert.ok(usage.memoryBytes > 100 << 20 && usage.memoryBytes < 400 << 20, `${usage.memoryBytes}`);
      assert.ok(usage.processes >= 1 && usage.processes < 60, `${usage.processes}`);
      sandbox.kill('ended');
      await sandbox.exited;
    });

    it('ends at its wall time', async () => {
      await bench.endsWith('wall_time', forever, { wallTimeMs: 200 });
    });

    it('ends over its memory', async () => {
      const grow = 'const all = []; setInterval(() => all.push(Buffer.alloc(20 << 20, 1)), 5)';
      await bench.endsWith('oom', grow, { memoryBytes: 200 << 20 });
    });

    it('ends over its disk, in the workspace as in the home', async () => {
      for (const place of ['.', 'process.env.HOME']) {
        const path = place === '.' ? '"."' : place;
        const fill = `const fs = require("fs"); let n = 0; setInterval(() => fs.writeFileSync(${path} + "/f" + n++, Buffer.alloc(1 << 20, 1)), 2)`;
        await bench.endsWith('disk_full', fill, { diskBytes: 40 << 20 });
        await bench.fresh();
      }
    });

    it('ends over its disk by empty files, too', async () => {
      const fill =
        'const fs = require("fs"); fs.mkdirSync("d"); let n = 0; setInterval(() => { for (let i = 0; i < 100; i++) fs.closeSync(fs.openSync("d/" + n++, "w")) }, 5)';
      await bench.endsWith('disk_full', fill, { diskBytes: 8 << 20 });
      await bench.fresh();
    });

    it('counts a deleted file that is still open', async () => {
      const fill =
        'const fs = require("fs"); const fd = fs.openSync("x", "w"); fs.unlinkSync("x"); setInterval(() => fs.writeSync(fd, Buffer.alloc(1 << 20, 1)), 2)';
      await bench.endsWith('disk_full', fill, { diskBytes: 40 << 20 });
    });

    it('limits open files', async () => {
      const open =
        'const fs = require("fs"); let n = 0; try { for (;;) { fs.openSync("/dev/null"); n++ } } catch (e) { console.log(e.code, n) }';
      const { output } = await bench.run(open, { limits: { openFiles: 100 } });
      assert.match(output, /^EMFILE (\d|\d\d)\n/);
    });

    it('rejects a directory that is not one of its own', async () => {
      await assert.rejects(bench.start(['true'], { directory: '/etc' }), { code: 'sandbox_failed' });
      await assert.rejects(bench.driver.prepare('/etc/atoll'), { code: 'sandbox_failed' });
      assert.ok(!existsSync('/etc/atoll'));
    });

    it('removes a tree whose directories nobody may enter', async () => {
      const close =
        'const fs = require("fs"); fs.mkdirSync("a/b/c", {recursive: true}); fs.writeFileSync("a/b/c/f", ""); fs.chmodSync("a/b", 0); fs.chmodSync("a", 0)';
      assert.equal((await bench.run(close)).exit.exitCode, 0);
      await bench.driver.remove(bench.directory);
      assert.ok(!existsSync(bench.directory));
      await bench.driver.remove(bench.directory);
      await bench.fresh();
    });

    it('leaves nothing running after a kill -9 of its runner, once swept', async () => {
      const word = `atoll-doomed-${name}`;
      const script = join(import.meta.dirname, 'drivers', 'doomed-runner.fixture.ts');
      const runner = spawn(process.execPath, [script, name, bench.dataDir, word], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      await once(runner.stdout, 'data');
      assert.ok(onHost(`setInterval ${word}`).length > 0);
      runner.kill('SIGKILL');
      await once(runner, 'exit');
      await bench.driver.sweep();
      await until(() => onHost(word).length === 0);
    });

    it('ends all sandboxes when it stops', async () => {
      const sandboxes = await Promise.all(
        [1, 2, 3].map((index) => bench.start(nodeCommand(forever), { id: `sbx_stop${index}` })),
      );
      for (const sandbox of sandboxes) sandbox.output.resume();
      await bench.driver.stop();
      const exits = await Promise.all(sandboxes.map((sandbox) => sandbox.exited));
      assert.deepEqual(
        exits.map((exit) => exit.cause),
        ['server_stopped', 'server_stopped', 'server_stopped'],
      );
      await assert.rejects(bench.start(nodeCommand(forever)), { code: 'shutting_down' });
    });
  });
}
