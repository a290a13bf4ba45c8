/**
 * For the host: what of the bridge a sandbox must see, and where. Inside, everything lies under /opt/atoll:
 *
 *   /opt/atoll/package.json         named @atoll/protocol, so that the bridge's imports resolve as self-references
 *   /opt/atoll/bridge, /protocol    outside of node_modules, below which node strips no types
 *   /opt/atoll/node_modules/@anthropic-ai/…    the Claude Agent SDK and its native binary, if installed
 *   /opt/atoll/node_modules/@openai/…          Codex, if installed
 *
 * The same holds for a source checkout (.ts) and for built packages (.js). Nothing else of the host is exposed.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutorKind } from '@atoll/protocol/executor-kinds';
import { CODEX, findCodex } from './executors/codex-binary.ts';

export const SANDBOX_ROOT = '/opt/atoll';

export type BridgeInstall = {
  /** What starts the bridge inside a sandbox with the mounts below. */
  command: readonly string[];
  /** What starts it on the host itself (driver `process`). */
  hostCommand: readonly string[];
  /** Host paths to bind read-only; a target lies under SANDBOX_ROOT. */
  mounts: readonly BridgeMount[];
  /** Environment for the bridge, in a sandbox. */
  env: Readonly<Record<string, string>>;
  /** Which kinds of executor can run, and why the others cannot. */
  executors: Readonly<Record<ExecutorKind, Availability>>;
};

export type Availability = { available: true } | { available: false; reason: string; mend: string };

export type BridgeMount = { source: string; target: string };

const SDK = '@anthropic-ai/claude-agent-sdk';
/** The SDK tells on stderr that `allowedTools` spare the permission callback, which is what they are for. */
const NODE_FLAGS = ['--disable-warning=CLAUDE_SDK_CAN_USE_TOOL_SHADOWED'];

const isSource = import.meta.url.endsWith('.ts');
const bridgeDirectory = dirname(fileURLToPath(import.meta.url));

/** What there is, without touching anything. `stage.ts` makes the variant that starts faster. */
export function describeBridge(): BridgeInstall {
  const sdk = claudeMounts();
  const codex = codexMounts();
  const main = isSource ? 'main.ts' : 'main.js';
  return {
    command: ['node', ...NODE_FLAGS, `${SANDBOX_ROOT}/bridge/${main}`],
    hostCommand: [process.execPath, ...NODE_FLAGS, join(bridgeDirectory, main)],
    mounts: [...sourceMounts(), ...mountsOf(sdk), ...mountsOf(codex)],
    env: {},
    executors: {
      claude: availabilityOf(sdk),
      acp: { available: true },
      codex: availabilityOf(codex),
      program: { available: true },
    },
  };
}

/** Bridge, protocol and the package.json that joins them. */
export function sourceMounts(): BridgeMount[] {
  const variant = isSource ? 'source' : 'built';
  return [
    { source: bridgeDirectory, target: `${SANDBOX_ROOT}/bridge` },
    {
      source: dirname(fileURLToPath(import.meta.resolve('@atoll/protocol/lines'))),
      target: `${SANDBOX_ROOT}/protocol`,
    },
    {
      source: join(bridgeDirectory, '..', 'sandbox', `${variant}.package.json`),
      target: `${SANDBOX_ROOT}/package.json`,
    },
  ];
}

type Installed = { kind: 'found'; mounts: BridgeMount[] } | { kind: 'missing'; reason: string; mend: string };

function mountsOf(installed: Installed): BridgeMount[] {
  return installed.kind === 'found' ? installed.mounts : [];
}

function availabilityOf(installed: Installed): Availability {
  if (installed.kind === 'found') return { available: true };
  return { available: false, reason: installed.reason, mend: installed.mend };
}

/** The SDK bundles its dependencies, so its own folder and the native binary's are all it needs. */
function claudeMounts(): Installed {
  const sdk = packageDirectory(import.meta.url, SDK, 'sdk.mjs');
  if (!sdk) return missing(`${SDK} is not installed`, `npm install ${SDK}`);
  const names = [`${SDK}-linux-${process.arch}`, `${SDK}-linux-${process.arch}-musl`];
  const binaries = names.flatMap((name) => {
    const source = packageDirectory(join(sdk, 'sdk.mjs'), name, 'package.json');
    return source && existsSync(join(source, 'claude')) ? [mountOf(name, source)] : [];
  });
  if (binaries.length > 0) return { kind: 'found', mounts: [mountOf(SDK, sdk), ...binaries] };
  return missing(
    `${SDK} is installed without its binary for linux-${process.arch}`,
    `npm install --include=optional ${SDK}`,
  );
}

/** The program with what lies beside it; the package that starts it with Node is not needed. */
function codexMounts(): Installed {
  const codex = findCodex(import.meta.url, 'linux');
  if (codex) return { kind: 'found', mounts: [mountOf(codex.name, codex.directory)] };
  return packageDirectory(import.meta.url, CODEX, 'package.json') === undefined
    ? missing(`${CODEX} is not installed`, `npm install ${CODEX}`)
    : missing(
        `${CODEX} is installed without its program for linux-${process.arch}`,
        `npm install --include=optional ${CODEX}`,
      );
}

function missing(reason: string, mend: string): Installed {
  return { kind: 'missing', reason: `${reason}.`, mend };
}

function mountOf(name: string, source: string): BridgeMount {
  return { source, target: `${SANDBOX_ROOT}/node_modules/${name}` };
}

/** The folder of an installed package as `from` would find it, or undefined. */
function packageDirectory(from: string, name: string, file: string): string | undefined {
  const paths = createRequire(from).resolve.paths(name) ?? [];
  return paths.map((path) => join(path, name)).find((path) => existsSync(join(path, file)));
}
