import assert from 'node:assert/strict';
import { after, before, describe, it, test } from 'node:test';
import {
  EMPTY_IMAGE,
  testEngine as engine,
  HOST_IMAGE,
  makeTestImages,
  missingEngine,
} from '../../../../testing/docker.ts';
import { createBench } from '../driver.bench.ts';
import { driverContract } from '../driver.contract.ts';
import { createDockerDriver } from './docker.ts';

const skip = missingEngine();
const make = (dataDir: string) => createDockerDriver({ dataDir, engine, image: HOST_IMAGE });

if (skip) test('driver contract: docker', { skip });
else {
  before(makeTestImages);
  driverContract('docker', make);
}

describe('images', { skip, concurrency: false }, () => {
  const bench = createBench(make);
  before(() => bench.open());
  after(() => bench.close());

  it('runs Node, and what Node starts, where there is no file at all', async () => {
    const script =
      'const { execFileSync: run } = require("child_process"); console.log(process.execPath, String(run("node", ["-p", "1 + 1"])).trim(), require("os").userInfo().username)';
    const { output } = await bench.run(script, { image: EMPTY_IMAGE });
    assert.equal(output, '/opt/node/bin/node 2 agent\n');
  });

  it('says how to mend it when an image is not to be had', async () => {
    await assert.rejects(bench.run('', { image: '127.0.0.1:1/no/such:image' }), {
      code: 'image_unavailable',
      detail:
        /^The image 127.0.0.1:1\/no\/such:image is not on the runner.*docker pull 127.0.0.1:1\/no\/such:image$/,
    });
    await assert.rejects(bench.run('', { image: 'NOT A NAME' }), { code: 'image_unavailable' });
  });

  it('knows the users of the image beside its own', async () => {
    const { output } = await bench.runCommand(['sh', '-c', 'id -un; id -u root; grep -c . /etc/passwd']);
    assert.match(output, /^agent\n0\n\d\d+\n$/);
  });
});

test('says what is wrong with an engine that does not answer', async () => {
  const problemOf = async (at: string) => {
    const [problem] = await createDockerDriver({ dataDir: '/nowhere', engine: at, image: '' }).check();
    return problem;
  };
  assert.match((await problemOf('unix:///nowhere.sock'))?.mend ?? '', /^apt-get install docker.io/);
  assert.match((await problemOf('tcp://127.0.0.1:1'))?.problem ?? '', /must be on this machine/);
});
