import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ack, createAcks } from './acks.ts';

const ack = (commandId: string, line: number): Ack => ({ sandboxId: 'sbx_1', epoch: 1, commandId, line });
/** Whatever waits for a promise goes on. */
const turn = () => new Promise((resolve) => process.nextTick(resolve));

function start(options: { afterBytes?: number; answer?: () => Promise<unknown> }) {
  const { answer = async () => undefined, ...rest } = options;
  const sent: string[][] = [];
  const acks = createAcks({
    afterMs: 500,
    ...rest,
    async send(all) {
      sent.push(all.map(({ commandId, line }) => `${commandId} ${line}`));
      await answer();
    },
  });
  return { acks, sent };
}

test('of each command the last line is told, once in a while', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { acks, sent } = start({});
  for (const [id, line] of [
    ['a', 1],
    ['b', 7],
    ['a', 3],
    ['a', 2],
  ] as const)
    acks.add(ack(id, line));
  mock.timers.tick(499);
  assert.deepEqual(sent, []);
  mock.timers.tick(1);
  assert.deepEqual(sent, [['a 3', 'b 7']]);
  await turn();
  acks.add(ack('a', 4));
  mock.timers.tick(500);
  assert.deepEqual(sent.slice(1), [['a 4']]);
});

test('sooner when much came, and one lot at a time', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const answered = Promise.withResolvers<void>();
  const { acks, sent } = start({ afterBytes: 1000, answer: () => answered.promise });
  acks.came(1000);
  acks.add(ack('a', 1));
  assert.deepEqual(sent, []);
  acks.came(1);
  acks.add(ack('a', 2));
  assert.deepEqual(sent, [['a 2']]);
  acks.came(5000);
  acks.add(ack('a', 9));
  mock.timers.tick(5000);
  assert.equal(sent.length, 1, 'the first lot is not answered yet');
  answered.resolve();
  await turn();
  assert.deepEqual(sent.slice(1), [['a 9']]);
});

test('nothing is told of a runner that is lost', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { acks, sent } = start({});
  acks.add(ack('a', 1));
  acks.close();
  mock.timers.tick(500);
  assert.deepEqual(sent, []);
});
