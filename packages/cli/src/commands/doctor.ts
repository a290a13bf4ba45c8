/** What this machine lacks for Atoll, and the command that mends it. Mends nothing itself. */
import { describeLimits } from '@atoll/runner';
import { checkDriver, type DriverName, driverNames } from '@atoll/runner/preflight';
import { driverSettings } from '../driver-settings.ts';
import { checkedProfiles } from '../executor-profiles.ts';
import { Failed } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

type Finding = {
  what: string;
  /** `off`: fine to be without. */
  status: 'ok' | 'off' | 'missing';
  detail: string;
  mend?: string;
};

export async function run(invocation: Invocation): Promise<void> {
  const { terminal } = invocation;
  const findings = [
    node(),
    ...(await Promise.all(driverNames.map((name) => driver(invocation, name)))).flat(),
    await limits(),
    ...executors(invocation),
    model(invocation),
    await server(invocation),
  ];
  const missing = findings.filter((finding) => finding.status === 'missing');
  if (terminal.json) terminal.value({ ok: missing.length === 0, findings });
  else for (const finding of findings) show(invocation, finding);
  if (missing.length > 0) throw new Failed(`${missing.length} things are missing`);
}

function show({ terminal: { line, style } }: Invocation, { what, status, detail, mend }: Finding): void {
  const mark = { ok: style.green('✓'), off: style.dim('–'), missing: style.red('✗') }[status];
  line(`${mark} ${style.bold(what)}  ${detail}`);
  if (mend !== undefined && status !== 'ok') line(`    ${mend}`);
}

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = major > 22 || (major === 22 && minor >= 18);
  const detail = `${process.version}${fits ? '' : ', and 22.18 or newer is needed'}`;
  return { what: 'Node', status: fits ? 'ok' : 'missing', detail, mend: 'See https://nodejs.org' };
}

/** The one that is used here, and those that could be. */
async function driver({ config }: Invocation, name: DriverName): Promise<Finding[]> {
  const used = name === config.driver;
  // It can run anywhere, and is not for those who ask what they lack.
  if (name === 'process' && !used) return [];
  const problems = await checkDriver(name, driverSettings(config));
  const what = used ? 'Sandboxes' : `Driver ${name}`;
  if (problems.length === 0) return [{ what, status: 'ok', detail: used ? name : 'can run' }];
  const said = problems.map(({ problem }) => problem).join(' ');
  return [
    {
      what,
      status: used ? 'missing' : 'off',
      detail: used ? `${name}: ${said}` : `cannot run here: ${said}`,
      mend: problems.map((problem) => problem.mend).join('\n    '),
    },
  ];
}

async function limits(): Promise<Finding> {
  const { memory, processes, cpu, disk } = await describeLimits();
  const detail = `memory by ${memory}, processes by ${processes}, CPU by ${cpu}, disk by ${disk}`;
  return { what: 'Limits', status: 'ok', detail };
}

/** Each agent needs one; whether it is needed here only the agents tell. */
function executors({ config }: Invocation): Finding[] {
  return checkedProfiles(config).map(({ profile: { name, settings }, problem }) => {
    const what = `Executor ${name}`;
    const own = name !== settings.kind;
    if (!problem) return { what, status: 'ok', detail: own ? `a profile of ${settings.kind}` : 'can run' };
    const status = Object.hasOwn(config.executorProfiles, name) ? 'missing' : 'off';
    return { what, status, detail: `cannot run here: ${problem.problem}`, mend: problem.mend };
  });
}

function model({ config }: Invocation): Finding {
  const what = 'Model';
  return config.anthropicApiKey === undefined
    ? {
        what,
        status: 'off',
        detail: 'ANTHROPIC_API_KEY is not set here',
        mend: 'Set it where `atoll start` runs, or store one: atoll credential set NAME --kind anthropic',
      }
    : { what, status: 'ok', detail: `a key for ${config.anthropicBaseUrl}` };
}

async function server({ client, config, signal }: Invocation): Promise<Finding> {
  const what = 'Server';
  try {
    const health = await (await client()).call('health.show', {}, { signal });
    return {
      what,
      status: 'ok',
      detail: `${config.server}, version ${health.version}, ${health.sessions} live sessions`,
    };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { what, status: 'off', detail, mend: 'atoll start' };
  }
}
