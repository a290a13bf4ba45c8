/** The package.json that is published, from the one that the workspace works with. */

export type Published = Record<string, unknown> & { files: string[] };

/** Entries point at emitted JavaScript and its types; `files` says what goes into the tarball. */
export function publishedManifest(source: unknown): Published {
  if (!isRecord(source)) throw new Error('a package.json must hold an object');
  const { private: _, scripts: __, devDependencies: ___, ...kept } = source;
  const files = Array.isArray(kept.files) ? kept.files.map(String) : ['src'];
  return {
    ...kept,
    ...(isRecord(kept.exports) ? { exports: publishedExports(kept.exports) } : {}),
    ...(isRecord(kept.bin) ? { bin: mapValues(kept.bin, (path) => emitted(String(path), '.js')) } : {}),
    files,
    publishConfig: { access: 'public' },
  };
}

function publishedExports(exports: Record<string, unknown>): Record<string, unknown> {
  return mapValues(exports, (target) =>
    typeof target === 'string' && target.endsWith('.ts')
      ? { types: emitted(target, '.d.ts'), default: emitted(target, '.js') }
      : target,
  );
}

function emitted(path: string, extension: string): string {
  return path.replace(/\.ts$/, extension);
}

function mapValues(
  record: Record<string, unknown>,
  map: (value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
