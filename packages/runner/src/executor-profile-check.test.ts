import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkProfile, type ProfilePlace } from './executor-profile-check.ts';
import { readProfiles } from './executor-profiles.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'atoll-profiles-')));
after(() => rmSync(root, { recursive: true }));
mkdirSync(join(root, 'data/runner'), { recursive: true });
mkdirSync(join(root, 'opt/bin'), { recursive: true });
mkdirSync(join(root, 'links'));
const program = join(root, 'opt/bin/agent');
const script = join(root, 'opt/agent.mjs');
const linked = join(root, 'links/agent');
writeFileSync(program, '#!/bin/sh\n');
chmodSync(program, 0o755);
writeFileSync(script, '');
symlinkSync(program, linked);

const installed = { available: true } as const;
const place: ProfilePlace = {
  executors: {
    claude: { available: false, reason: 'Not installed.', mend: 'npm install it' },
    acp: installed,
    codex: installed,
    program: installed,
  },
  enclosed: true,
  asRoot: false,
  dataDir: join(root, 'data'),
};

function check(settings: object, where = place) {
  const [profile] = readProfiles({ mine: settings }).slice(-1);
  assert.ok(profile);
  return checkProfile(profile, where);
}

const acp = (command: string[], mounts: string[] = []) => ({ kind: 'acp', command, mounts });

test('what its sandboxes see can run', () => {
  for (const settings of [
    { kind: 'program' },
    acp(['sh', '-c', 'true']),
    acp(['node', '/workspace/agent.mjs']),
    acp(['bin/agent']),
    acp([program], [join(root, 'opt')]),
    acp([linked], [join(root, 'opt'), join(root, 'links')]),
    acp(['node', script], [script]),
    { ...acp(['agent'], [join(root, 'opt')]), env: { PATH: `/usr/bin:${join(root, 'opt/bin')}` } },
  ])
    assert.equal(check(settings), undefined, JSON.stringify(settings));
});

test('what cannot run says why, and what mends it', () => {
  const cases: [settings: object, problem: RegExp, mend: RegExp][] = [
    [{ kind: 'claude' }, /^Not installed\.$/, /^npm install it$/],
    [acp(['no-such-agent']), /^no-such-agent is not found in \/usr\/local\/bin, /, /executorProfiles\.mine/],
    [acp([join(root, 'opt/none')]), /opt\/none is no program/, /Install it/],
    [acp([script], [root]), /would show Atoll's own data/, /Correct "mounts"/],
    [acp([script], [join(root, 'opt')]), /agent\.mjs is no program/, /Install it/],
    [acp([program]), /outside of what its sandboxes see/, /Add "mounts": \["[^"]+\/opt\/bin"\]/],
    [acp([linked], [join(root, 'links')]), /outside of what its/, /Add "mounts": \["[^"]+\/opt\/bin"\]/],
    [acp(['node', script]), /agent\.mjs is outside of what its/, /Add "mounts": \["[^"]+\/opt"\]/],
    [acp(['node', join(root, 'none.mjs')]), /none\.mjs is not there\.$/, /Correct "command" of exec/],
    [acp(['node'], [join(root, 'none')]), /none, which it mounts, is not there/, /Correct "mounts"/],
    [acp(['node'], [join(root, 'data/runner')]), /would show Atoll's own data/, /Correct "mounts"/],
  ];
  for (const [settings, problem, mend] of cases) {
    const found = check(settings);
    assert.match(found?.problem ?? '', problem, JSON.stringify(settings));
    assert.match(found?.mend ?? '', mend);
  }
});

test('users of their own must be let in', () => {
  const asRoot = { ...place, asRoot: true };
  const opt = join(root, 'opt');
  chmodSync(opt, 0o700);
  const closed = check(acp(['node'], [opt]), asRoot);
  assert.match(closed?.problem ?? '', /opt, which it mounts, cannot be read by others than its owner/);
  assert.equal(closed?.mend, `chmod -R a+rX ${opt}`);
  assert.equal(check(acp(['node'], [opt]), { ...asRoot, enclosed: false }), undefined);
  chmodSync(opt, 0o755);
  assert.equal(check(acp(['node'], [opt]), asRoot), undefined);
});

test('without walls everything is seen', () => {
  const open = { ...place, enclosed: false };
  assert.equal(check(acp([program]), open), undefined);
  assert.equal(check(acp(['node', script]), open), undefined);
  assert.match(check(acp([join(root, 'opt/none')]), open)?.problem ?? '', /is no program/);
});
