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
import type { Packet } from "../../dataplane/packet.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { CONVERSATION_KINDS, type ConversationKind } from "../../verify/fuzz/conversations.ts";
import { programsOf, runCampaign } from "../../verify/kernel/campaign.ts";
import { type Accused, compareRecorded, KernelJudge, type Recording, subjectOf } from "../../verify/kernel/judge.ts";
import { packetDomain } from "../../verify/kernel/packetDomain.ts";
import { PacketSource } from "../../verify/kernel/packetSource.ts";
import { Random } from "../../verify/kernel/random.ts";
import { denseProgramArbitrary } from "../arbitraries/denseProgram.ts";
import { PROGRAM_NODE } from "../arbitraries/program.ts";
import { isWhole, sampled } from "../extent.ts";
import { judgeConnections } from "../kernel/connectionCampaign.ts";
import { ConnectionKernel } from "../kernel/connectionKernel.ts";
import { hasKernel } from "../kernel/kernel.ts";
import { CONNTRACK_MUTANTS, EVALUATOR_MUTANTS, RENDERER_MUTANTS, STRATEGY_MUTANTS } from "./kernelMutants.ts";
import { noteCaught } from "./kernelNotes.ts";
import { type MutantLoader, mutate, type SourceMutant, sourceOf, startMutantLoader } from "./mutantLoader.ts";

/**
 * Each mistake gets as many programs, clusters or conversations as it takes to catch it, up to a limit far above what the
 * hardest one takes. So it does not depend on luck with a seed whether it is caught.
 */
const SEED = Number(process.env.CHAINWALK_KERNEL_SEED ?? 20_261_124);

/** Mistakes of each kind that a sample makes; a whole run makes all. */
const SAMPLE = 1;

const ALL = [...EVALUATOR_MUTANTS, ...RENDERER_MUTANTS, ...STRATEGY_MUTANTS, ...CONNTRACK_MUTANTS];

/** What is drawn a batch at a time, as far as anybody asks for it. */
class Grown<T> {
  readonly #draw: (seed: number) => readonly T[];
  readonly #items: T[] = [];
  #batches = 0;

  constructor(draw: (seed: number) => readonly T[]) {
    this.#draw = draw;
  }

  at(index: number): T {
    while (index >= this.#items.length) this.#items.push(...this.#draw(SEED + this.#batches++));
    const item = this.#items[index];
    if (item === undefined) throw new Error(`no item ${index}`);
    return item;
  }
}

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
    const MOST_PROGRAMS = 1200;
    const programs = new Grown((seed) => fc.sample(kinds, { numRuns: 10, seed }).flat());
    /** What the kernel did with the packets of each program, as far as anybody asked. It is asked once. */
    const recordings: Recording[] = [];
    let judge: KernelJudge;

    beforeAll(async () => {
      judge = await KernelJudge.start([subjectOf(programs.at(0))], options);
    });

    afterAll(async () => {
      await judge.close();
    });

    function packetsFor(index: number): readonly Packet[] {
      const source = new PacketSource(packetDomain([programs.at(index)]), new Random(SEED + index));
      return Array.from({ length: 300 }, () => source.next());
    }

    async function recordingOf(index: number): Promise<Recording> {
      const known = recordings[index];
      if (known !== undefined) return known;
      await judge.load([subjectOf(programs.at(index))]);
      const recording = await judge.record(packetsFor(index));
      recordings[index] = recording;
      return recording;
    }

    /** Where the accused differs from the kernel among so many programs. */
    async function accuse(accused: Accused, most: number): Promise<string | undefined> {
      for (let index = 0; index < most; index++) {
        const [difference] = compareRecorded(await recordingOf(index), accused, options).differences;
        if (difference !== undefined) return `program ${index}: ${difference.because.join("; ")}`;
      }
      return undefined;
    }

    it("nothing, when there is no mistake", { timeout: 600_000 }, async () => {
      const asked = isWhole ? 120 : 10;
      expect(await accuse((loaded, fabricOptions) => new Fabric(loaded, fabricOptions), asked)).toBeUndefined();
      expect(recordings.reduce((sum, { results }) => sum + results.length, 0)).toBeGreaterThan(asked * 150);
    });

    it.each(sampled(EVALUATOR_MUTANTS, SAMPLE))("$name", { timeout: 600_000 }, async (mutant) => {
      const { Fabric: Mutated } = await loader.load(mutant, "dataplane/fabric.ts");
      const mutated: Accused = (loaded, fabricOptions) => new Mutated(loaded, fabricOptions);
      const caught = await accuse(mutated, MOST_PROGRAMS);
      noteCaught(mutant, caught);
      expect(caught).toBeDefined();
    });

    it.each(sampled(RENDERER_MUTANTS, SAMPLE))("(as text) $name", { timeout: 600_000 }, async (mutant) => {
      const { subjectOf: say } = await loader.load(mutant, "verify/kernel/judge.ts");
      const sign = async () => {
        for (let index = 0; index < MOST_PROGRAMS; index++) {
          const program = programs.at(index);
          const { text } = say(program);
          if (isDeepStrictEqual(text, subjectOf(program).text)) continue;
          try {
            await judge.load([{ program, text }]);
          } catch (error) {
            return `program ${index}: ${error}`; // the kernel refuses the text
          }
          const [difference] = (await judge.run(packetsFor(index))).differences;
          if (difference !== undefined) return `program ${index}: ${difference.because.join("; ")}`;
        }
        return undefined;
      };
      const caught = await sign();
      noteCaught(mutant, caught);
      expect(caught).toBeDefined();
    });
  });

  describe("catches in what a strategy makes of policies:", () => {
    const MOST_CLUSTERS = 400;
    const telling = clusterArbitrary().filter(({ policies, endpoints }) => policies.length > 1 && endpoints.length > 3);
    const models = new Grown((seed) => fc.sample(telling, { numRuns: 20, seed }));

    /** The kernel gets what `mistaken` lowers, we execute what the strategy itself does. */
    async function judgeAll(strategy: Strategy, mistaken: Strategy): Promise<string | undefined> {
      for (let index = 0; index < MOST_CLUSTERS; index++) {
        const model = models.at(index);
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

    it.each(sampled(STRATEGY_MUTANTS, SAMPLE))("$strategy: $name", { timeout: 600_000 }, async (mutant) => {
      const strategy = strategyNamed(mutant.strategy);
      const { strategyNamed: mutated } = await loader.load(mutant, "compiler/strategies/registry.ts");
      const mistaken = mutated(mutant.strategy);
      if (strategy === undefined || mistaken === undefined) throw new Error(`no strategy ${mutant.strategy}`);
      const caught = await judgeAll(strategy, mistaken);
      noteCaught(mutant, caught);
      expect(caught).toBeDefined();
    });
  });

  describe("catches in connection tracking:", () => {
    let kernel: ConnectionKernel;

    beforeAll(async () => {
      kernel = await ConnectionKernel.start();
    });

    afterAll(async () => {
      await kernel.close();
    });

    const MOST_ROUNDS = 20;
    const PACKETS = 2500;

    async function judgeAll(
      judgeThem: typeof judgeConnections,
      { rounds, packets = PACKETS, kinds = CONVERSATION_KINDS }: Rounds,
    ): Promise<string | undefined> {
      for (let round = 0; round < rounds; round++) {
        for (const kind of kinds) {
          try {
            await judgeThem(kernel, { kind, packets, seed: SEED + round, conntrack: {} });
          } catch (error) {
            return `round ${round}: ${error}`;
          }
        }
      }
      return undefined;
    }

    it("nothing, when there is no mistake", { timeout: 600_000 }, async () => {
      // test/kernel/conntrack.test.ts asks a hundred times as much.
      const packets = isWhole ? PACKETS : PACKETS / 5;
      expect(await judgeAll(judgeConnections, { rounds: 1, packets })).toBeUndefined();
    });

    it.each(sampled(CONNTRACK_MUTANTS, SAMPLE))("$name", { timeout: 600_000 }, async (mutant: SourceMutant) => {
      const { judgeConnections: mutated } = await loader.load(mutant, "test/kernel/connectionCampaign.ts");
      const caught = await judgeAll(mutated, { rounds: MOST_ROUNDS, kinds: kindsFor(mutant) });
      noteCaught(mutant, caught);
      expect(caught).toBeDefined();
    });
  });
});

interface Rounds {
  readonly rounds: number;
  /** Of each kind in each round. */
  readonly packets?: number;
  readonly kinds?: readonly ConversationKind[];
}

/** All kinds of conversations, first the one that the mistaken file is about. */
function kindsFor({ file }: SourceMutant): readonly ConversationKind[] {
  const about = CONVERSATION_KINDS.filter(
    (kind) => file.endsWith(`/${kind}.ts`) || (kind === "datagram" && file.endsWith("/udp.ts")),
  );
  return [...about, ...CONVERSATION_KINDS.filter((kind) => !about.includes(kind))];
}
