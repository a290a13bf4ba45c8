/** The composition root of `atoll acp`: an ACP agent for the editor that spawned this process. Stdout carries ACP alone. */
import { createChooseAgent } from '../acp/agents.ts';
import { serveEditor } from '../acp/serve.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createJsonLines } from '../json-lines.ts';
import { permissionMode } from '../permission-mode.ts';
import { withPlatform } from '../platform.ts';
import { stdioChannel } from '../worker/stdio.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { options } = invocation;
  const settings = given({
    model: options.model,
    permissionMode: permissionMode(options['permission-mode']),
  });
  await withPlatform(invocation, async (platform) => {
    const lines = createJsonLines(stdioChannel());
    try {
      await serveEditor({ platform, lines, agent: createChooseAgent(platform, options.agent), settings });
    } finally {
      lines.close();
    }
  });
}
