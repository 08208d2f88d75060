/**
 * Builds the command line: the modules of a verb as few files, with what they need of packages. A verb has some three hundred
 * modules, and to find and open each takes longer than to run them.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { defineConfig, type Plugin } from "vite";

// Tests build into folders of their own.
const OUT = process.env.CHAINWALK_CLI_FOLDER ?? join(import.meta.dirname, "dist", "cli");

const CLI = join(import.meta.dirname, "cli");

/** Compiled where they are needed, and looked for beside the module that does it. */
const SOURCES_IN_C = ["verify/kernel/oracle.c", "verify/bpf/bpf.c", "bench/peers/scan.c"];

function sourcesInC(): Plugin {
  return {
    name: "sources-in-c",
    writeBundle() {
      for (const source of SOURCES_IN_C) copyFileSync(join(import.meta.dirname, source), join(OUT, basename(source)));
    },
  };
}

/** A constant of ip-num that is a range of addresses: `IPv4.LOOPBACK_RANGE = …;`. */
const RANGE = /^(IPv[46])\.([A-Z_]+_RANGES?) = ([^;]+);$/gm;

/** ip-num reads twenty ranges when it is loaded, of which nothing here asks for one: each is read when somebody does. */
function lateRanges(): Plugin {
  return {
    name: "late-ranges",
    transform(code, id) {
      if (!id.endsWith("ip-num/dist/src/IPNumber.js")) return undefined;
      const late = code.replace(
        RANGE,
        (_, owner: string, name: string, range: string) =>
          `Object.defineProperty(${owner}, "${name}", { configurable: true, get: () => ${range} });`,
      );
      if (late === code) throw new Error("ip-num has no ranges to read late any more");
      return { code: late, map: null };
    },
  };
}

/** Together they call most of what a command calls. The cluster is small: what counts is that a function was called at all. */
const REHEARSALS = [
  ["matrix", "-s", "all"],
  ["matrix", "-s", "all", "-o", "json"],
  ["trace", "--from", "intruder", "--to", "db", "--port", "3306"],
  ["compile", "-s", "all", "-o", "summary"],
  ["validate"],
];
const REHEARSED = join(import.meta.dirname, "scenarios", "db-policy");

/** Escapes: a source in which a byte is a character is read and compared faster. Names have no others, texts may have them escaped. */
function inAscii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * `main.js` loads the rest. It starts faster from the code that is written here, as a script of a function that the launcher
 * calls, and Node starts faster when none of it is an ES module.
 */
function launcher(): Plugin {
  return {
    name: "launcher",
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type !== "chunk" || file.name === "main") continue;
        file.code = inAscii(file.code);
      }
    },
    writeBundle(_options, bundle) {
      const entries = Object.values(bundle).filter((file) => file.type === "chunk" && file.isEntry);
      const first = entries.find(({ name }) => name === "process");
      if (first === undefined) throw new Error("no process to launch");
      const main = join(OUT, "main.js");
      writeFileSync(main, readFileSync(main, "utf8").replace("PROCESS_FILE", first.fileName));
      writeFileSync(join(OUT, "package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
      chmodSync(main, 0o755);
      // What a run takes from the code of those before it, it writes again beside its own.
      const env = { ...process.env, CHAINWALK_WRITE_CODE: "1" };
      for (const words of REHEARSALS) {
        execFileSync(process.execPath, [main, ...words, "-f", REHEARSED, "--quiet"], { env, stdio: "ignore" });
      }
    },
  };
}

export default defineConfig({
  build: {
    ssr: true,
    target: "node20",
    outDir: OUT,
    emptyOutDir: true,
    // What a stack trace names is what the sources call it.
    minify: false,
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      input: Object.fromEntries(
        ["main", "process", "fuzzWorker", "replayWorker"].map((name) => [name, join(CLI, `${name}.ts`)]),
      ),
      // In one folder, where they find each other and the sources in C. V8 takes code for scripts, not for ES modules.
      output: {
        format: "cjs",
        strict: true,
        entryFileNames: ({ name }) =>
          name === "process" ? "[name]-[hash].cjs" : name === "main" ? "[name].js" : "[name].cjs",
        chunkFileNames: "[name]-[hash].cjs",
      },
    },
  },
  ssr: { target: "node", noExternal: true },
  plugins: [sourcesInC(), lateRanges(), launcher()],
});
