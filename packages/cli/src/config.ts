/**
 * The settings of this process: a flag wins over its variable, that over `atoll.config.json`, that over the default.
 * The only place that reads the environment.
 */
import { readFileSync } from 'node:fs';
import { codeOf, UsageError } from './failure.ts';
import { type Config, type Setting, type SettingName, settings } from './settings.ts';

export const CONFIG_FILE = 'atoll.config.json';

export type ConfigSources = {
  flags: Readonly<Partial<Record<SettingName, string>>>;
  environment: NodeJS.ProcessEnv;
  /** The file's text; undefined when there is none. */
  file: string | undefined;
};

export function readConfig(sources: ConfigSources): Config {
  const fromFile = parseFile(sources.file);
  const entries = Object.entries(settings).map(([name, setting]: [string, Setting]) => {
    const flag = sources.flags[name as SettingName];
    if (flag !== undefined) return [name, labelled(`--${setting.flag}`, () => setting.read(flag))];
    const variable = sources.environment[setting.variable];
    if (variable !== undefined && variable !== '')
      return [name, labelled(setting.variable, () => setting.read(variable))];
    const filed = fromFile[name];
    if (filed !== undefined)
      return [name, labelled(`${CONFIG_FILE}: ${name}`, () => setting.read(textOf(filed)))];
    return [name, setting.fallback(sources.environment)];
  });
  return Object.fromEntries(entries) as Config;
}

/** The sources of this process: its environment, and the file in the directory it was started in. */
export function processSources(flags: ConfigSources['flags']): ConfigSources {
  return { flags, environment: process.env, file: readIfThere(CONFIG_FILE) };
}

/** https://no-color.org: any value but the empty one means no colour. */
export function wantsColor(environment: NodeJS.ProcessEnv = process.env): boolean {
  return !environment.NO_COLOR && environment.TERM !== 'dumb';
}

function parseFile(file: string | undefined): Record<string, unknown> {
  if (file === undefined) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(file);
  } catch (error) {
    throw new UsageError(`${CONFIG_FILE} is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new UsageError(`${CONFIG_FILE} must hold one JSON object`);
  for (const [name, value] of Object.entries(parsed)) {
    const setting = Object.hasOwn(settings, name) ? (settings[name as SettingName] as Setting) : undefined;
    if (setting === undefined) throw new UsageError(`${CONFIG_FILE}: there is no setting "${name}"`);
    if (!setting.inFile)
      throw new UsageError(`${CONFIG_FILE}: "${name}" is a secret; set ${setting.variable} instead`);
    if (!setting.json && !['string', 'number', 'boolean'].includes(typeof value))
      throw new UsageError(`${CONFIG_FILE}: "${name}" must be a string, a number or a boolean`);
    if (setting.json && typeof value !== 'object')
      throw new UsageError(`${CONFIG_FILE}: "${name}" must be an object`);
  }
  return { ...parsed };
}

/** As a flag or a variable would say it. */
function textOf(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new UsageError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
}

function labelled<T>(label: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${label} ${error.message}`);
    throw error;
  }
}
