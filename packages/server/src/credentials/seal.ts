/**
 * Values at rest (I7): AES-256-GCM with a fresh nonce each (NIST SP 800-38D), bound to the place they were sealed for.
 * What one place sealed opens in no other, so rows of the database cannot be swapped, nor what stands beside a value be
 * changed without it.
 *
 *   envelope   format (1 byte) | key id (8) | nonce (12) | tag (16) | ciphertext
 *
 * The key id says which key sealed it, so that several can be known at a time once keys are rotated.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';

export const SECRET_KEY_BYTES = 32;

const FORMAT = 1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES;

/** Where a value belongs: all that must be the same when it is opened. */
export type Place = { tenant: string; name: string; version: number; settings: string };

export type Sealer = {
  /** Names the key and tells nothing about it. */
  readonly keyId: string;
  seal(value: string, place: Place): Uint8Array;
  /** Throws `wrong_secret_key`, or `credential_unreadable` for what was not sealed for this place. */
  open(sealed: Uint8Array, place: Place): string;
  /** 32 bits that only this key can make: equal for equal values of one name. */
  fingerprint(value: string, place: Pick<Place, 'tenant' | 'name'>): string;
};

/** `secretKey`: 32 random bytes. Each purpose gets a key of its own from it (RFC 5869). */
export function createSealer(secretKey: Uint8Array): Sealer {
  const derive = (purpose: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secretKey, '', `atoll credentials: ${purpose}`, bytes));
  const sealing = derive('seal', SECRET_KEY_BYTES);
  const marking = derive('fingerprint', SECRET_KEY_BYTES);
  const keyId = derive('key id', KEY_ID_BYTES);

  return {
    keyId: keyId.toString('hex'),
    seal(value, place) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(bound(keyId, place));
      const ciphertext = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(FORMAT), keyId, nonce, cipher.getAuthTag(), ciphertext]);
    },
    open(sealed, place) {
      const { id, nonce, tag, ciphertext } = parts(sealed, place);
      if (!id.equals(keyId)) throw wrongKey(id.toString('hex'), keyId.toString('hex'));
      const decipher = createDecipheriv('aes-256-gcm', sealing, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(bound(keyId, place)).setAuthTag(tag);
      try {
        return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
      } catch {
        // What the cipher says is always the same, and less than this.
        throw unreadable(place);
      }
    },
    fingerprint(value, { tenant, name }) {
      const mark = createHmac('sha256', marking).update(JSON.stringify([tenant, name, value]));
      return mark.digest('hex').slice(0, 8);
    },
  };
}

export function wrongKey(stored: string, ours: string): AtollError {
  return new AtollError(
    'wrong_secret_key',
    `the stored credentials were sealed with the secret key ${stored}, and this server has ${ours}; start it with the ATOLL_SECRET_KEY or the secret.key of before, or delete the credentials and set them again`,
  );
}

function parts(sealed: Uint8Array, place: Place) {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) throw unreadable(place);
  const nonceAt = 1 + KEY_ID_BYTES;
  const tagAt = nonceAt + NONCE_BYTES;
  return {
    id: bytes.subarray(1, nonceAt),
    nonce: bytes.subarray(nonceAt, tagAt),
    tag: bytes.subarray(tagAt, HEAD_BYTES),
    ciphertext: bytes.subarray(HEAD_BYTES),
  };
}

/** JSON, so that no two places are written alike. */
function bound(keyId: Buffer, { tenant, name, version, settings }: Place): Buffer {
  return Buffer.from(JSON.stringify([FORMAT, keyId.toString('hex'), tenant, name, version, settings]));
}

function unreadable({ name }: Place): AtollError {
  return new AtollError(
    'credential_unreadable',
    `the stored credential ${name} was changed or damaged in the database; set it again`,
  );
}
