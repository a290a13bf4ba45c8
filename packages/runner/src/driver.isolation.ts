import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { createBench, nodeCommand, until } from './driver.bench.ts';
import type { Driver } from './driver.ts';
import { describeLimits } from './drivers/limits.ts';
import { isErrno } from './drivers/processes.ts';

/**
 * Attacks from inside a sandbox. Each test shows that the attack is refused and, as a control, that the same thing
 * works where it may: on the host, or inside with something allowed.
 */
export type IsolationOptions = {
  /** What runs inside is no process of the host's. */
  ownKernel?: boolean;
  /** What is around the sandbox's own files is an image, and not this machine's system. */
  image?: boolean;
};

const asRoot = process.getuid?.() === 0;
const means = await describeLimits();

export function isolationContract(
  name: string,
  make: (dataDir: string) => Driver,
  { ownKernel = false, image = false }: IsolationOptions = {},
): void {
  describe(`isolation: ${name}`, { concurrency: false }, () => {
    const bench = createBench(make);
    before(() => bench.open());
    after(() => bench.close());
    /** Runs a command inside and gives what it printed. */
    const inside = async (...command: string[]) => (await bench.runCommand(command)).output;

    it('shows nothing of the host but its system', async () => {
      const read = (path: string) =>
        `try { console.log("${path}", require("fs").readdirSync("${path}").length) } catch (e) { console.log("${path}", e.code) }`;
      const hidden = ['/root', '/var', '/srv', '/work', '/boot', '/media', '/mnt', bench.dataDir];
      // Where it has no sockets, and no `/sys` of an engine or of its own kernel.
      if (!ownKernel && !image) hidden.push('/run', '/sys');
      const { output } = await bench.run(
        [...hidden, '/usr/bin', '/opt', '/home', '/etc'].map(read).join(';'),
      );
      for (const path of hidden) assert.match(output, new RegExp(`^${path} ENOENT$`, 'm'));
      assert.match(output, /^\/usr\/bin \d+$/m);
      assert.match(output, /^\/opt 1$/m);
      assert.match(output, /^\/home 1$/m);
      const etc = await inside('sh', '-c', 'cd /etc; for name in *; do echo $name; done');
      assert.match(etc, /^passwd$/m);
      assert.doesNotMatch(etc, /shadow|machine-id|ssh/);
      assert.doesNotMatch(await inside('cat', '/etc/resolv.conf'), /nameserver (?!127\.)/);
      if (!image) assert.doesNotMatch(await inside('cat', '/etc/passwd'), /postgres|sync/);
    });

    it('cannot write to the system, and can to its own directories', async () => {
      const touch =
        'for f in /x /usr/x /etc/x /dev/x /opt/atoll/x /opt/node/bin/node /proc/sys/kernel/hostname ./x $HOME/x /tmp/x /dev/shm/x; do (echo > $f) 2>/dev/null && echo "wrote $f"; done';
      const wrote = (await inside('sh', '-c', touch)).trim().split('\n');
      assert.deepEqual(wrote, ['wrote ./x', 'wrote /home/agent/x', 'wrote /tmp/x', 'wrote /dev/shm/x']);
    });

    it('cannot reach the files of another sandbox', { skip: !asRoot }, async () => {
      const other = join(bench.dataDir, 'sandboxes', 'sbx_other');
      const owner = await bench.driver.prepare(other);
      const mine = await bench.driver.prepare(bench.directory);
      assert.notEqual(owner?.uid, mine?.uid);
      assert.notEqual(owner?.uid, 0);
      const secret = join(other, 'workspace', 'secret');
      writeFileSync(secret, 'other');
      const paths = [secret, '/workspace/../sbx_other/workspace/secret', '/proc/1/root/workspace/secret'];
      for (const path of paths) assert.match(await inside('cat', path), /No such file|Permission denied/);
      // Even outside of its namespaces, the sandbox's uid could not pass the data directory.
      const asMine = { uid: mine?.uid ?? 0, gid: mine?.gid ?? 0, stdio: 'pipe' } as const;
      assert.throws(() => execFileSync('cat', [secret], asMine), /Permission denied/);
      const { output } = await bench.runCommand(['cat', 'secret'], { directory: other });
      assert.equal(output, 'other');
      await bench.driver.remove(other);
    });

    it('sees only its own processes and cannot signal others', async () => {
      const victim = spawn('sleep', ['600'], { stdio: 'ignore' });
      await once(victim, 'spawn');
      const pids = (await inside('sh', '-c', 'cd /proc && echo [0-9]*')).trim().split(' ').map(Number);
      assert.ok(pids.includes(1) && pids.length < 6 && !pids.includes(victim.pid ?? 0), pids.join());
      const kill = `for (const pid of [${victim.pid}, ${process.pid}]) try { process.kill(pid, 9); console.log("killed") } catch (e) { console.log(e.code) }; process.kill(process.pid, 0); console.log("self")`;
      assert.equal((await bench.run(kill)).output, 'ESRCH\nESRCH\nself\n');
      await inside('sh', '-c', 'kill -9 -1');
      assert.equal(victim.exitCode ?? victim.signalCode, null);
      victim.kill();
    });

    it('has no network but its own loopback', async () => {
      const server = createServer((socket) => socket.end('host'));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : undefined;
      const connect = (host: string, to: unknown) =>
        `await new Promise((done) => net.connect({ host: "${host}", port: ${to} }).on("error", (e) => { console.log("${host}", e.code.replace("EHOST", "ENET")); done() }).on("connect", () => { console.log("${host} connected"); done() }));`;
      const { output } = await bench.run(
        `(async () => { const net = require("net"); const own = net.createServer().listen(4000, "127.0.0.1"); await require("events").once(own, "listening");
        ${connect('127.0.0.1', port)} ${connect('10.0.0.1', 80)} ${connect('127.0.0.1', 4000)} console.log(Object.keys(require("os").networkInterfaces()).join()); process.exit() })()`,
      );
      server.close();
      assert.equal(output, '127.0.0.1 ECONNREFUSED\n10.0.0.1 ENETUNREACH\n127.0.0.1 connected\nlo\n');
    });

    it('cannot connect to abstract sockets of the host', async () => {
      const server = createServer((socket) => socket.end('host'));
      server.listen('\0atoll-isolation-test');
      await once(server, 'listening');
      const connect =
        'require("net").connect("\\0atoll-isolation-test").on("error", (e) => console.log(e.code)).on("data", (d) => console.log(String(d)))';
      assert.equal((await bench.run(connect)).output, 'ECONNREFUSED\n');
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', connect]);
      assert.equal(stdout, 'host\n');
      server.close();
    });

    it('reaches a host socket it was given', async () => {
      const directory = join(bench.dataDir, 'sockets');
      mkdirSync(directory, { recursive: true });
      chmodSync(directory, 0o711);
      const source = join(directory, 'gateway.sock');
      const server = createServer((socket) => socket.end('gateway'));
      server.listen(source);
      await once(server, 'listening');
      chmodSync(source, 0o666);
      const connect = 'require("net").connect("/run/gateway.sock").on("data", (d) => console.log(String(d)))';
      const spec = { sockets: [{ source, target: '/run/gateway.sock' }] };
      assert.equal((await bench.run(connect, spec)).output, 'gateway\n');
      server.close();
    });

    it('has no privileges and cannot get any', async () => {
      const status = await inside('cat', '/proc/self/status');
      for (const set of ['CapPrm', 'CapEff', 'CapBnd']) assert.match(status, new RegExp(`${set}:\\s0+\\n`));
      // gVisor has no other way, and says nothing of it.
      if (ownKernel) return;
      assert.match(status, /CapAmb:\s0+\n/);
      assert.match(status, /NoNewPrivs:\s1\n/);
      assert.match(status, /Seccomp:\s2\n/);
      assert.match(readFileSync('/proc/self/status', 'latin1'), /NoNewPrivs:\s0\n/);
    });

    it('gains nothing by setuid', async () => {
      const made = await inside(
        'sh',
        '-c',
        'cp /usr/bin/id me && chmod 6755 me && id -u && ./me -u && /usr/bin/su -c id </dev/null',
      );
      assert.match(made, /^([1-9]\d*)\n\1\n/);
      assert.doesNotMatch(made, /uid=0/);
      const path = join(bench.directory, 'workspace', 'me');
      assert.equal(statSync(path).mode & 0o7777, 0o6755);
      if (!asRoot) return;
      // On the host it is a file of a uid that owns nothing, behind a directory nobody else may pass.
      assert.notEqual(statSync(path).uid, 0);
      assert.throws(
        () => execFileSync(path, { uid: 65534, gid: 65534, stdio: 'pipe' }),
        (error) => isErrno(error, 'EACCES'),
      );
      assert.equal(
        execFileSync('/usr/bin/id', ['-u'], { uid: 65534, gid: 65534, encoding: 'utf8' }),
        '65534\n',
      );
    });

    it('makes no device nodes, and a FIFO harms nobody', async () => {
      const made = await inside(
        'sh',
        '-c',
        'mknod null c 1 3 2>&1; mknod disk b 8 0 2>&1; mkfifo pipe && test -p pipe && echo made',
      );
      assert.match(made, /null: Operation not permitted[\s\S]*disk: Operation not permitted/);
      assert.match(made, /^made$/m);
      // gVisor keeps it to itself.
      if (!ownKernel) assert.ok(lstatSync(join(bench.directory, 'workspace', 'pipe')).isFIFO());
      await bench.fresh();
      assert.deepEqual(readdirSync(join(bench.directory, 'workspace')), []);
    });

    it('contains a fork bomb', async () => {
      const bomb = (condition: string) =>
        `let n = 0; for (${condition}) { n++; require("child_process").spawn("sleep", ["60"], {stdio: "ignore"}).on("error", (e) => { console.log(e.code); }) }`;
      const limits = { processes: 40 };
      if (ownKernel) {
        const { output } = await bench.run(`${bomb('; n < 60; ')} setTimeout(process.exit, 100)`, { limits });
        assert.match(output, /^(EAGAIN\n){20,59}$/);
      } else {
        const sandbox = await bench.start(nodeCommand(bomb(';;')), { limits });
        sandbox.output.resume();
        if (!image && means.processes === 'watchdog') {
          assert.equal((await sandbox.exited).cause, 'too_many_processes');
        } else {
          await until(async () => (await sandbox.usage()).processes >= 38);
          assert.ok((await sandbox.usage()).processes <= 40);
          sandbox.kill('ended');
          assert.equal((await sandbox.exited).cause, 'ended');
        }
      }
      assert.equal((await bench.run('console.log("next")', { limits })).output, 'next\n');
    });

    it('ends a whole sandbox when a child of it takes too much memory', async () => {
      const parent =
        'console.log("parent"); require("child_process").spawn("node", ["-e", "const a = []; for (;;) a.push(Buffer.alloc(8 << 20, 1))"]); setInterval(() => {}, 1000)';
      await bench.endsWith('oom', parent, { memoryBytes: 256 << 20 });
      // Temporary files are memory too, and bounded.
      const full = await bench.runCommand([
        'sh',
        '-c',
        'dd if=/dev/zero of=/tmp/x bs=1M 2>&1; dd if=/dev/zero of=/dev/shm/x bs=1M 2>&1; echo ok',
      ]);
      assert.match(full.output, /No space left[\s\S]*No space left[\s\S]*ok/);
    });

    it('ends when it fills the disk, as fast as a disk is filled', async () => {
      const limits = { diskBytes: 100 << 20 };
      const { exit } = await bench.runCommand(['sh', '-c', 'dd if=/dev/zero of=big bs=1M; sleep 600'], {
        limits,
      });
      assert.equal(exit.cause, 'disk_full');
      const size = statSync(join(bench.directory, 'workspace', 'big')).size;
      assert.ok(size <= (100 + 256) << 20, `${size}`);
      await bench.fresh();
      const small = await bench.runCommand(['dd', 'if=/dev/zero', 'of=small', 'bs=1M', 'count=50'], {
        limits,
      });
      assert.equal(small.exit.cause, 'exited');
      await bench.fresh();
    });

    // What gVisor tells of CPU time is not what the host gave.
    it('uses no more CPU than it may', { skip: ownKernel || (!image && means.cpu === 'none') }, async () => {
      const spin =
        'const end = Date.now() + 600; while (Date.now() < end); console.log(process.cpuUsage().user + process.cpuUsage().system)';
      const quarter = 600_000 * 0.25 * 1.7;
      const limited = Number((await bench.run(spin, { limits: { cpu: 0.25 } })).output);
      assert.ok(limited < quarter, `${limited} µs`);
      // On a busy machine a free one may get little, too, but not every time.
      const free: number[] = [];
      for (let tries = 0; tries < 5 && !free.some((used) => used > quarter); tries++)
        free.push(Number((await bench.run(spin)).output));
      assert.ok(
        free.some((used) => used > quarter),
        `${free} µs`,
      );
    });

    it('still runs the programs agents need', async () => {
      assert.match(await inside('node', '-v'), /^v\d+/);
      assert.match(
        await inside(
          'sh',
          '-c',
          'git init -q repo && cd repo && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log --oneline',
        ),
        / x\n/,
      );
      if (existsSync('/usr/bin/python3') && !image) {
        const python =
          'import subprocess, threading; t = threading.Thread(target=lambda: print("thread")); t.start(); t.join(); print(subprocess.check_output(["echo", "child"]).decode())';
        assert.match(await inside('/usr/bin/python3', '-c', python), /thread\nchild/);
      }
    });
  });
}
