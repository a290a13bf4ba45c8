/**
 * For the host: a module and all it imports as one CommonJS file. Node resolves, reads and links each ES module on its
 * own, half a millisecond apiece; as one file the bridge starts nearly as fast as an empty program.
 *
 * Every module becomes a function that is run once, when it is first imported, so that what is imported with `import()`
 * still costs nothing before. Only the forms that our code is written in are known; any other is refused.
 */
import { readFileSync } from 'node:fs';

export type JoinOptions = {
  /** The file to begin with. */
  entry: string;
  /** The file of a module to take in; undefined for one that Node itself finds at run time. */
  resolve(specifier: string, from: string): string | undefined;
  /** The JavaScript of a TypeScript file. */
  stripTypes(source: string): string;
};

const STATIC_IMPORT = /^import\s*\{([^}]*)\}\s*from\s*(['"])([^'"]+)\2;/gm;
const DYNAMIC_IMPORT = /\bimport\((['"])([^'"]+)\1\)/g;
const EXPORT = /^export\s+((?:async\s+)?function\*?|const|class)\s+(\w+)/gm;
/** What the compiler leaves of a module that had nothing but types. */
const EMPTY_EXPORT = /^export\s*\{\s*\};/gm;
const UNKNOWN = /^(?:import|export)\b.*|\bimport\.meta\b.*|\bimport\(\s*['"`]\..*/m;

export function joinModules({ entry, resolve, stripTypes }: JoinOptions): string {
  const names = new Map<string, string>();
  const modules: string[] = [];

  /** The name of the function that gives a module's exports. */
  function take(file: string): string {
    const known = names.get(file);
    if (known !== undefined) return known;
    const name = `$module${names.size}`;
    names.set(file, name);
    modules.push(`const ${name} = $once(() => {\n${translate(file)}\n});`);
    return name;
  }

  function translate(file: string): string {
    const read = readFileSync(file, 'utf8');
    const source = file.endsWith('.ts') ? stripTypes(read) : read;
    const exported: string[] = [];
    const body = source
      .replace(STATIC_IMPORT, (_, list: string, quote: string, specifier: string) => {
        const module = resolve(specifier, file);
        const from = module === undefined ? `require(${quote}${specifier}${quote})` : `${take(module)}()`;
        return `const {${list.replace(/\s+as\s+/g, ': ')}} = ${from};`;
      })
      .replace(DYNAMIC_IMPORT, (whole, _quote, specifier: string) => {
        const module = resolve(specifier, file);
        return module === undefined ? whole : `Promise.resolve().then(${take(module)})`;
      })
      .replace(EXPORT, (_, kind: string, name: string) => {
        exported.push(name);
        return `${kind} ${name}`;
      })
      .replace(EMPTY_EXPORT, '');
    const unknown = UNKNOWN.exec(body);
    if (unknown) throw new Error(`${file} cannot be joined with others: ${unknown[0].slice(0, 100)}`);
    return `${body}\nreturn { ${exported.join(', ')} };`;
  }

  const main = take(entry);
  return `'use strict';\nconst $once = (run) => { let done; return () => (done ??= run()); };\n${modules.join('\n')}\n${main}();\n`;
}
