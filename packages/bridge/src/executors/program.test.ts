import { fileURLToPath } from 'node:url';
import { executorContract, sdkTranscript } from '../executor.contract.ts';

const agent = fileURLToPath(new URL('program-agent.fixture.ts', import.meta.url));

executorContract('program', () => ({
  settings: { kind: 'program', command: [process.execPath, agent] },
  env: {},
  failure: 'executor_failed',
  hasSessions: false,
  branches: false,
  transcript: sdkTranscript,
}));
