/** Whole sessions through the docker driver, in images. What it has in common with gVisor is in `driver-sessions.ts`. */
import assert from 'node:assert/strict';
import { after, before, describe, it, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { turnOf } from '../attack.ts';
import { EMPTY_IMAGE, HOST_IMAGE, makeTestImages, missingEngine, testEngine } from '../docker.ts';
import { driverSessions } from '../driver-sessions.ts';

const skip = missingEngine();
const docker = {
  args: ['--driver', 'docker', '--docker-image', HOST_IMAGE],
  env: { DOCKER_HOST: testEngine },
};

if (skip) test('sessions: docker', { skip });
else {
  before(makeTestImages);
  driverSessions('docker', docker);
}

describe('images of agents', { skip, concurrency: false }, () => {
  let atoll: Atoll;
  before(async () => {
    atoll = await startAtoll(docker);
  });
  after(() => atoll[Symbol.asyncDispose]());

  it('runs an agent in an image without a single file', async () => {
    await deployProgram(atoll.client, 'bare', versatile, { image: EMPTY_IMAGE });
    const { session } = await atoll.client.call('session.create', { agent: 'bare' });
    assert.equal((await turnOf(atoll, session.id, 'hello')).done.status, 'completed');
    await atoll.client.call('session.end', { sessionId: session.id });
  });

  it('refuses a session whose image is not to be had, with the command that mends it', async () => {
    await deployProgram(atoll.client, 'wishful', versatile, { image: '127.0.0.1:1/none:none' });
    await assert.rejects(atoll.client.call('session.create', { agent: 'wishful' }), {
      code: 'image_unavailable',
      detail: /docker pull 127.0.0.1:1\/none:none/,
    });
  });
});

test('an image is a demand that bubblewrap does not meet', async () => {
  await using atoll = await startAtoll();
  await deployProgram(atoll.client, 'wishful', versatile, { image: 'alpine' });
  await assert.rejects(atoll.client.call('session.create', { agent: 'wishful' }), {
    code: 'no_runner',
    detail: /none of its drivers has images/,
  });
});
