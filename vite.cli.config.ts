/**
 * Builds the command line: the modules of a verb as few files, with what they need of packages. A verb has some three hundred
 * modules, and to find and open each takes longer than to run them.
 */
import { copyFileSync } from "node:fs";
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
      input: Object.fromEntries(["main", "fuzzWorker", "replayWorker"].map((name) => [name, join(CLI, `${name}.ts`)])),
      // In one folder, where they find each other and the sources in C.
      output: { entryFileNames: "[name].js", chunkFileNames: "[name]-[hash].js" },
    },
  },
  ssr: { target: "node", noExternal: true },
  plugins: [sourcesInC()],
});
