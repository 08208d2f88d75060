import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Replaces the registry of strategies for its own file, and so needs modules of its own. */
const MOCKING = "test/strategies/adding.test.ts";

export default defineConfig({
  test: {
    setupFiles: ["test/seed.ts"],
    // The default leaves one processor idle, which on two is half of the machine. Files that ask a kernel, a browser or other
    // processes wait for an eighth of their time: one worker more has something to do meanwhile.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    projects: [
      {
        extends: true,
        // Modules keep nothing but caches, by what they are of, and buffers that outlive no call, so the files of a worker
        // share what they import: the whole run costs a quarter less processor time.
        test: { name: "shared", include: ["test/**/*.test.ts"], exclude: [MOCKING], isolate: false },
      },
      { extends: true, test: { name: "alone", include: [MOCKING] } },
    ],
  },
});
