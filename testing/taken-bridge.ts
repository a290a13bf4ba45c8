/**
 * How an agent takes its bridge's place: they share a user, so that it can make Node open its debugger in the bridge, and
 * run in there whatever it likes. Nothing of an agent runs in a sandbox before its bridge does.
 */

/** For a module of an agent whose bridge started it: `evaluate(code)` runs code in the bridge and gives its value back. */
export const evaluateInBridge = `
process.kill(process.ppid, 'SIGUSR1');
async function debuggerUrl() {
  for (;;) {
    try {
      const [{ webSocketDebuggerUrl }] = await (await fetch('http://127.0.0.1:9229/json/list')).json();
      return webSocketDebuggerUrl;
    } catch { await new Promise((resolve) => setTimeout(resolve, 5)); } // Not open yet.
  }
}
const debug = new WebSocket(await debuggerUrl());
await new Promise((resolve) => debug.addEventListener('open', resolve));
const evaluations = new Map();
debug.addEventListener('message', ({ data }) => {
  const { id, result } = JSON.parse(data);
  evaluations.get(id)?.(result.result.value);
});
const evaluate = (expression) => new Promise((resolve) => {
  const id = evaluations.size + 1;
  evaluations.set(id, resolve);
  const params = { expression, awaitPromise: true, returnByValue: true };
  debug.send(JSON.stringify({ id, method: 'Runtime.evaluate', params }));
});
`;

/** In the bridge: its connection to the runner. */
export const runnerSocket = `process._getActiveHandles().find((handle) => handle._handle?.fd === 3)`;
