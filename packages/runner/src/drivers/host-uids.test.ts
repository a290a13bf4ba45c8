import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createHostUids, uidRange } from './host-uids.ts';

describe('host uids', () => {
  it('gives each directory its own, and the same again', () => {
    const uids = createHostUids('/nowhere', { first: 100, count: 3 });
    assert.deepEqual(
      ['a', 'b', 'a', 'c'].map((name) => uids.for(name)),
      [100, 101, 100, 102],
    );
    assert.throws(() => uids.for('d'), { code: 'no_capacity' });
    uids.release('b');
    assert.equal(uids.for('d'), 101);
  });

  it('finds those in use by looking at the directories', { skip: process.getuid?.() !== 0 }, () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'atoll-uids-'));
    const workspace = join(dataDir, 'sandboxes', 'sbx_1', 'workspace');
    mkdirSync(workspace, { recursive: true });
    chownSync(workspace, 100, 100);
    const uids = createHostUids(dataDir, { first: 100, count: 3 });
    assert.equal(uids.for('other'), 101);
    assert.equal(uids.for(join(dataDir, 'sandboxes', 'sbx_1')), 100);
    rmSync(dataDir, { recursive: true });
  });

  it('takes ranges nobody hands out, and another for another data directory', () => {
    const [one, two] = [uidRange('/a', 4294967295), uidRange('/b', 4294967295)];
    assert.notEqual(one.first, two.first);
    for (const { first, count } of [one, two]) {
      assert.ok(first >= 1_879_048_192 && first + count <= 2_147_352_576);
    }
    assert.deepEqual(uidRange('/a', 65_536), { first: 32_768, count: 32_766 });
    assert.throws(() => uidRange('/a', 1), { code: 'sandbox_failed' });
  });
});
