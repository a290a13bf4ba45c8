import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../parse.ts';
import { agentConfig } from './agent.ts';
import { id } from './common.ts';

test('whoever names an executor wrongly is told how to name one', () => {
  const how = /"executor": must be "claude", "codex", or \{"kind": "acp" or "program", "command": \[/;
  for (const executor of ['acp', { kind: 'apc' }, { kind: 'acp' }, { kind: 'acp', command: 'opencode acp' }])
    assert.throws(() => parse(agentConfig, { executor }), how);
});

test('an id of another kind is told in a sentence', () => {
  assert.throws(() => parse(id('approval'), 'ses_1'), /must be an approval id/);
  assert.throws(() => parse(id('session'), 'ses_1'), /must be a session id/);
});
