/**
 * Env values that look like secrets are refused (I7): what stands in a sandbox's environment can be read by all that
 * runs there. The check knows the shapes of common keys, and names that say what they hold.
 */
import { AtollError } from './errors.ts';

const KEY_SHAPES: readonly RegExp[] = [
  /\bsk-[A-Za-z0-9_-]{16,}/, // Anthropic, OpenAI and others
  /\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}/, // Stripe
  /\bgh[oprsu]_[A-Za-z0-9]{20,}/, // GitHub
  /\bgithub_pat_[A-Za-z0-9_]{20,}/,
  /\bglpat-[A-Za-z0-9_-]{16,}/, // GitLab
  /\bnpm_[A-Za-z0-9]{30,}/,
  /\bxox[abeoprs]-[A-Za-z0-9-]{10,}/, // Slack
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/, // AWS
  /\bAIza[A-Za-z0-9_-]{30,}/, // Google
  /\bya29\.[A-Za-z0-9_-]{20,}/,
  /\bhf_[A-Za-z0-9]{20,}/, // Hugging Face
  /\batoll_[A-Za-z0-9_-]{40,}/,
  /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\./, // JWT
  /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/,
  /:\/\/[^/\s:@]+:[^/\s:@]{6,}@/, // a password in a URL
];

const SECRET_NAME =
  /(?:^|_)(?:api_?key|secret(?:_?key)?|access_?key|auth_?token|token|passwd|password|credentials?|private_?key)$/i;
/** Shorter values behind such a name are flags and placeholders more often than secrets. */
const SECRET_LENGTH = 12;

export function refuseSecrets(env: Readonly<Record<string, string>>): void {
  const found = Object.entries(env).find(([name, value]) => looksLikeSecret(name, value));
  if (!found) return;
  throw new AtollError(
    'secret_in_env',
    `env.${found[0]} looks like a secret, and whatever runs in the sandbox could read it. Keep it outside with "atoll credential set", or set allowSecretEnv to true if it is none.`,
  );
}

export function looksLikeSecret(name: string, value: string): boolean {
  if (KEY_SHAPES.some((shape) => shape.test(value))) return true;
  return SECRET_NAME.test(name) && value.length >= SECRET_LENGTH && !/\s/.test(value);
}
