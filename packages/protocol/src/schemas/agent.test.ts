import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../parse.ts';
import { agentConfig } from './agent.ts';

test('whoever names an executor wrongly is told how to name one', () => {
  const how = /"executor": must be "claude", "codex", or \{"kind": "acp" or "program", "command": \[/;
  for (const executor of ['acp', { kind: 'apc' }, { kind: 'acp' }, { kind: 'acp', command: 'opencode acp' }])
    assert.throws(() => parse(agentConfig, { executor }), how);
});
