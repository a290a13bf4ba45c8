import { before, test } from 'node:test';
import {
  testEngine as engine,
  HOST_IMAGE,
  makeTestImages,
  missingEngine,
} from '../../../../testing/docker.ts';
import { callsContract } from '../driver.calls.ts';
import { isolationContract } from '../driver.isolation.ts';
import { createDockerDriver } from './docker.ts';

const skip = missingEngine();
if (skip) test('isolation: docker', { skip });
else {
  before(makeTestImages);
  const make = (dataDir: string) => createDockerDriver({ dataDir, engine, image: HOST_IMAGE });
  isolationContract('docker', make, { image: true });
  callsContract('docker', make);
}
