import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Replaces the registry of strategies for its own file, and so needs modules of its own. */
const MOCKING = "test/strategies/adding.test.ts";

/** Files of few lines that run for long. Where nobody knows durations yet, as in CI, the shortest file would be the last. */
const LONG = [
  "test/conformance/strategies.test.ts",
  "test/kernel/fullTable.test.ts",
  "test/kernel/instructions.test.ts",
  "test/kernel/realNodes.test.ts",
  "test/kernel/strategies.test.ts",
  "test/mutants/misreadings.test.ts",
  "test/realDumps/importedAgrees.test.ts",
  "test/realDumps/importedVerdicts.test.ts",
  "test/scenarios/hotSwaps.test.ts",
  "test/verify/serviceSplit.test.ts",
];

/** What is long goes first, so that no worker is at work alone in the end. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // A file with modules of its own ends the worker before it, so it stays in front.
    const rank = ({ moduleId, project }: TestSpecification) =>
      project.config.isolate ? 0 : LONG.some((name) => moduleId.endsWith(name)) ? 1 : 2;
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    setupFiles: ["test/seed.ts"],
    // The default leaves one processor idle, which on two is half of the machine. Files that ask a kernel, a browser or other
    // processes wait for an eighth of their time: one worker more has something to do meanwhile.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongFirst },
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
