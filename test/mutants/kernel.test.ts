/**
 * Whether the kernel judge would notice: each mistake of kernelMutants.ts is made, and must be caught by the same
 * comparison that the real code passes.
 */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { programsOf, runCampaign } from "../../verify/kernel/campaign.ts";
import { type Accused, compareRecorded, KernelJudge, type Recording, subjectOf } from "../../verify/kernel/judge.ts";
import { packetDomain } from "../../verify/kernel/packetDomain.ts";
import { PacketSource } from "../../verify/kernel/packetSource.ts";
import { Random } from "../../verify/kernel/random.ts";
import { clusterArbitrary } from "../arbitraries/cluster.ts";
import { denseProgramArbitrary } from "../arbitraries/denseProgram.ts";
import { PROGRAM_NODE } from "../arbitraries/program.ts";
import { judgeConnections } from "../kernel/connectionCampaign.ts";
import { ConnectionKernel } from "../kernel/connectionKernel.ts";
import { hasKernel } from "../kernel/kernel.ts";
import { CONNTRACK_MUTANTS, EVALUATOR_MUTANTS, RENDERER_MUTANTS, STRATEGY_MUTANTS } from "./kernelMutants.ts";
import { type MutantLoader, mutate, type SourceMutant, sourceOf, startMutantLoader } from "./mutantLoader.ts";

/** Fixed: whether a mistake is caught must not depend on luck. */
const SEED = 20_261_124;

const ALL = [...EVALUATOR_MUTANTS, ...RENDERER_MUTANTS, ...STRATEGY_MUTANTS, ...CONNTRACK_MUTANTS];

describe("the list of mistakes", () => {
  it("has at least thirty, with names of their own", () => {
    expect(ALL.length).toBeGreaterThanOrEqual(30);
    expect(new Set(ALL.map(({ name, file }) => `${file} ${name}`)).size).toBe(ALL.length);
  });

  it("fits the source as it is", () => {
    for (const mutant of ALL) expect(mutate(sourceOf(mutant), mutant)).not.toBe(sourceOf(mutant));
  });
});

describe.runIf(hasKernel("bridge"))("the kernel judge", () => {
  let loader: MutantLoader;

  beforeAll(async () => {
    loader = await startMutantLoader();
  });

  afterAll(async () => {
    await loader.close();
  });

  describe("catches in what executes programs and in what says them:", () => {
    const options = { variant: "legacy", walks: true, only: PROGRAM_NODE } as const;
    const kinds = fc.tuple(
      denseProgramArbitrary({ families: [4, 6] }),
      denseProgramArbitrary({ tables: ["filter"] }),
      denseProgramArbitrary({ tables: ["raw", "filter"] }),
    );
    const programs = fc.sample(kinds, { numRuns: 40, seed: SEED }).flat();
    const recordings: Recording[] = [];
    let judge: KernelJudge;

    beforeAll(async () => {
      const [first] = programs;
      if (first === undefined) throw new Error("no program");
      judge = await KernelJudge.start([subjectOf(first)], options);
      for (const [index, program] of programs.entries()) {
        await judge.load([subjectOf(program)]);
        const source = new PacketSource(packetDomain([program]), new Random(SEED + index));
        recordings.push(await judge.record(Array.from({ length: 300 }, () => source.next())));
      }
    }, 120_000);

    afterAll(async () => {
      await judge.close();
    });

    /** The kernel was asked once; each accused is compared with what it did. */
    function accuse(accused: Accused): string | undefined {
      for (const [index, recording] of recordings.entries()) {
        const [difference] = compareRecorded(recording, accused, options).differences;
        if (difference !== undefined) return `program ${index}: ${difference.because.join("; ")}`;
      }
      return undefined;
    }

    it("nothing, when there is no mistake", () => {
      expect(accuse((loaded, fabricOptions) => new Fabric(loaded, fabricOptions))).toBeUndefined();
      expect(recordings.reduce((sum, { results }) => sum + results.length, 0)).toBeGreaterThan(20_000);
    });

    it.each(EVALUATOR_MUTANTS)("$name", async (mutant) => {
      const { Fabric: Mutated } = await loader.load(mutant, "dataplane/fabric.ts");
      expect(accuse((loaded, fabricOptions) => new Mutated(loaded, fabricOptions))).toBeDefined();
    });

    it.each(RENDERER_MUTANTS)("(as text) $name", async (mutant) => {
      const { subjectOf: say } = await loader.load(mutant, "verify/kernel/judge.ts");
      const sign = async () => {
        for (const [index, program] of programs.entries()) {
          const { text } = say(program);
          if (isDeepStrictEqual(text, subjectOf(program).text)) continue;
          try {
            await judge.load([{ program, text }]);
          } catch (error) {
            return String(error); // the kernel refuses the text
          }
          const [difference] = (await judge.run(recordings[index]?.packets ?? [])).differences;
          if (difference !== undefined) return `program ${index}: ${difference.because.join("; ")}`;
        }
        return undefined;
      };
      expect(await sign()).toBeDefined();
    });
  });

  describe("catches in what a strategy makes of policies:", () => {
    const models = fc.sample(
      clusterArbitrary().filter(({ policies, endpoints }) => policies.length > 1 && endpoints.length > 3),
      { numRuns: 40, seed: SEED },
    );

    /** The kernel gets what `mistaken` lowers, we execute what the strategy itself does. */
    async function judgeAll(strategy: Strategy, mistaken: Strategy): Promise<string | undefined> {
      for (const [index, model] of models.entries()) {
        const programs = programsOf({ model, strategy });
        const others = new Map(programsOf({ model, strategy: mistaken }).map((program) => [program.node, program]));
        const subjects = programs.map((program) => {
          const { text } = subjectOf(others.get(program.node) ?? program);
          return { program, text };
        });
        if (subjects.every(({ program, text }) => isDeepStrictEqual(text, subjectOf(program).text))) continue;
        const judge = await KernelJudge.start(subjects, { variant: "legacy", walks: false });
        const options = { variant: "legacy", walks: false, packets: 3000, seed: SEED + index } as const;
        const { differences } = await runCampaign(judge, programs, options).finally(() => judge.close());
        const [difference] = differences;
        if (difference !== undefined) return `cluster ${index}: ${difference.because.join("; ")}`;
      }
      return undefined;
    }

    it.each(STRATEGY_MUTANTS)("$strategy: $name", { timeout: 60_000 }, async (mutant) => {
      const strategy = strategyNamed(mutant.strategy);
      const { strategyNamed: mutated } = await loader.load(mutant, "compiler/strategies/registry.ts");
      const mistaken = mutated(mutant.strategy);
      if (strategy === undefined || mistaken === undefined) throw new Error(`no strategy ${mutant.strategy}`);
      expect(await judgeAll(strategy, mistaken)).toBeDefined();
    });
  });

  describe("catches in connection tracking:", () => {
    const KINDS = ["tcp", "sctp", "datagram", "icmp"] as const;
    let kernel: ConnectionKernel;

    beforeAll(async () => {
      kernel = await ConnectionKernel.start();
    });

    afterAll(async () => {
      await kernel.close();
    });

    async function judgeAll(judgeThem: typeof judgeConnections): Promise<string | undefined> {
      for (const kind of KINDS) {
        try {
          await judgeThem(kernel, { kind, packets: 2500, seed: SEED, conntrack: {} });
        } catch (error) {
          return String(error);
        }
      }
      return undefined;
    }

    it("nothing, when there is no mistake", { timeout: 120_000 }, async () => {
      expect(await judgeAll(judgeConnections)).toBeUndefined();
    });

    it.each(CONNTRACK_MUTANTS)("$name", { timeout: 60_000 }, async (mutant: SourceMutant) => {
      const { judgeConnections: mutated } = await loader.load(mutant, "test/kernel/connectionCampaign.ts");
      expect(await judgeAll(mutated)).toBeDefined();
    });
  });
});
