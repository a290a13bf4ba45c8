/** An agent that hunts for secrets: in all that it may read of its sandbox, and in all that it can make others say. */
import type { RequestListener } from 'node:http';
import { setImmediate as soon } from 'node:timers/promises';

/** To be found, or the hunt is none. */
export const canaries = ['canary-in-env', 'canary-in-argv', 'canary-in-a-file', 'canary-in-memory'] as const;

const source = `
import { spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { writeFileSync } from 'node:fs';
const send = (message) => process.stdout.write(JSON.stringify(message) + '\\n');
const held = [Buffer.from(['canary', 'in', 'memory'].join('-'))];
for await (const line of createInterface({ input: process.stdin })) {
  const { script, hunt, marks } = JSON.parse(JSON.parse(line).content);
  const said = spawnSync('sh', ['-c', script], { maxBuffer: 1 << 26 });
  held.push(said.stdout, said.stderr);
  writeFileSync('said', Buffer.concat(held.slice(1)));
  const { stdout, stderr } = spawnSync('perl', ['-e', hunt, ...marks], { maxBuffer: 1 << 26 });
  send({ type: 'hunted', said: said.stdout.toString('latin1') + said.stderr, found: stdout.toString() + stderr });
  send({ type: 'result' });
}
process.exit(0);
`;

export const hunter = {
  'agent.mjs': source,
  'canary.txt': canaries[2],
};

export const hunterConfig = {
  executor: { kind: 'program', command: ['node', 'agent.mjs', canaries[1]] },
  env: { HUNT: canaries[0] },
};

/**
 * In perl: prints where each mark of its arguments stands, which come backwards, since the search itself must not hold
 * what it looks for. Looks at environment, arguments and memory of every process, and at every file but the system's.
 */
export const hunt = `
use File::Find;
my @marks = map { scalar reverse } @ARGV;
sub look { my ($where, $bytes) = @_; index($bytes, $marks[$_]) >= 0 and print "found $_ $where\\n" for 0 .. $#marks }
sub all { my ($path) = @_; local $/; open(my $file, "<:raw", $path) or return ""; my $bytes = <$file>; $bytes // "" }
for my $process (grep { !m{/$$\\z} } glob "/proc/[0-9]*") {
  look("$_ of $process", all("$process/$_")) for "environ", "cmdline";
  open(my $maps, "<", "$process/maps") or next; open(my $memory, "<:raw", "$process/mem") or next;
  my $read = 0;
  while (<$maps>) {
    next unless /^([0-9a-f]+)-([0-9a-f]+) r/; my ($from, $to) = (hex $1, hex $2);
    next if $to - $from > 64 << 20;
    sysseek($memory, $from, 0); $read += sysread($memory, my $bytes, $to - $from) or next;
    look("memory of $process", $bytes);
  }
  print "read memory of $process\\n" if $read > 1 << 20;
}
my $files = 0;
find({ no_chdir => 1,
  preprocess => sub { grep { "$File::Find::dir/$_" !~ m{^/+(?:proc|sys|dev|usr|lib\\w*|bin|sbin)\\z} } @_ },
  wanted => sub { return if -l $_ || !-f _ || -s _ > 64 << 20; $files++; look("file $_", all($_)) } }, "/");
print "read $files files\\n";`;

/**
 * A service that gives away what it was asked with, in the way that `?mode=` says: in body, headers and their names,
 * cut at every byte, in trailers, in the form of a URL or of JSON, in parts.
 */
export const telltale: RequestListener = async (request, response) => {
  request.resume();
  const secrets = [request.headers['x-api-key'], request.headers['x-token'], request.headers.authorization]
    .flatMap((header) => header ?? [])
    .map((header) => String(header).replace(/^(Bearer|Basic) /, ''));
  const mode = new URL(request.url ?? '/', 'http://tell').searchParams.get('mode');
  const body = JSON.stringify({ asked: request.rawHeaders, secrets });
  if (mode === 'chunks') {
    response.writeHead(200, { 'content-type': 'text/event-stream', trailer: 'x-told' });
    for (const byte of Buffer.from(`data: ${body}\n\n`)) {
      response.write(Buffer.of(byte));
      await soon();
    }
    response.addTrailers({ 'x-told': secrets.join() });
    return void response.end();
  }
  if (mode === 'redirect')
    return void response.writeHead(302, { location: `/?with=${encodeURIComponent(secrets.join())}` }).end();
  if (mode === 'slashes') return void response.writeHead(500).end(body.replaceAll('/', '\\/'));
  if (mode === 'names') for (const each of secrets.filter(isToken)) response.setHeader(`x-${each}`, each);
  if (request.headers.range) return void response.writeHead(206).end(body.slice(0, body.length / 2));
  response.writeHead(401, secrets[0] ?? 'Unauthorized', { 'www-authenticate': secrets, 'x-echo': body });
  response.end(`<p>not with ${secrets}, nor with ${encodeURIComponent(secrets.join())}: ${body}`);
};

export const modes = ['plain', 'names', 'chunks', 'redirect', 'slashes'] as const;

function isToken(text: string): boolean {
  return /^[\w-]+$/.test(text);
}
