/**
 * Our own modules with one deliberate mistake in them: a line of the source is replaced while it is loaded, everything
 * that imports it sees the mistake, and nothing is written anywhere. The text to replace must occur exactly once, so a
 * mutant that the code has outgrown fails instead of testing nothing.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createViteServer } from "vitest/node";

const ROOT = join(import.meta.dirname, "..", "..");

/** A mistake of one line. */
export interface SourceMutant {
  /** What is wrong, in words. */
  readonly name: string;
  /** Path from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** The source with the mistake in it. Throws when the text to replace is not there exactly once. */
export function mutate(source: string, { name, file, find, replace }: SourceMutant): string {
  const pieces = source.split(find);
  if (pieces.length !== 2) throw new Error(`mutant "${name}": ${file} has ${pieces.length - 1} times: ${find}`);
  return pieces.join(replace);
}

export function sourceOf({ file }: SourceMutant): string {
  return readFileSync(join(ROOT, file), "utf8");
}

/** The modules that mistakes are looked for in, by path from the root. */
interface Modules {
  readonly "cli/run.ts": typeof import("../../cli/run.ts");
  readonly "dataplane/fabric.ts": typeof import("../../dataplane/fabric.ts");
  readonly "verify/kernel/judge.ts": typeof import("../../verify/kernel/judge.ts");
  readonly "compiler/strategies/registry.ts": typeof import("../../compiler/strategies/registry.ts");
  readonly "test/mutants/hunt.ts": typeof import("./hunt.ts");
  readonly "test/kernel/connectionCampaign.ts": typeof import("../kernel/connectionCampaign.ts");
}

export interface MutantLoader {
  /** The module with the mistake in whatever it imports. Throws when it does not import it. */
  load<Path extends keyof Modules>(mutant: SourceMutant, module: Path): Promise<Modules[Path]>;
  close(): Promise<void>;
}

export async function startMutantLoader(): Promise<MutantLoader> {
  let current: SourceMutant | undefined;
  let applied = false;
  const server = await createViteServer({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    appType: "custom",
    optimizeDeps: { noDiscovery: true },
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    plugins: [
      {
        name: "mutant",
        enforce: "pre",
        transform(code, id) {
          if (current === undefined || id !== join(ROOT, current.file)) return undefined;
          applied = true;
          return mutate(code, current);
        },
      },
    ],
  });
  return {
    async load(mutant, module) {
      // What imports the file, directly or not, is loaded anew with it; the rest stays.
      for (const { file } of current === undefined ? [mutant] : [current, mutant]) {
        for (const known of server.moduleGraph.getModulesByFile(join(ROOT, file)) ?? []) {
          server.moduleGraph.invalidateModule(known);
        }
      }
      current = mutant;
      applied = false;
      const loaded = await server.ssrLoadModule(`/${module}`);
      // The command line imports a verb when it is asked for.
      if (!applied && module !== "cli/run.ts")
        throw new Error(`mutant "${mutant.name}": ${module} does not import ${mutant.file}`);
      return loaded as Modules[typeof module]; // what is at a path is known, but not to the compiler
    },
    close: () => server.close(),
  };
}
