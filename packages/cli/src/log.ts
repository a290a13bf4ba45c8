/** The log of long-lived commands: JSON lines on stderr. pino is loaded with the first line that is written. */
import { createRequire } from 'node:module';
import type { Logger } from '@atoll/server';
import type { Logger as Pino } from 'pino';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

export function createLog(level: string): Logger {
  let pino: Pino | undefined;
  const at =
    (name: 'debug' | 'info' | 'warn' | 'error') => (fields: Record<string, unknown>, message: string) => {
      if (LEVELS.indexOf(name) < LEVELS.indexOf(level)) return;
      pino ??= loadPino(level);
      pino[name](fields, message);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function loadPino(level: string): Pino {
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  return pino({ level }, pino.destination(2));
}
