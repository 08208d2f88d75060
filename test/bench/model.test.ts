import { describe, expect, it } from "vitest";
import { EXPERIMENTS, openingOf } from "../../bench/kernel/experiments.ts";
import { countWork } from "../../bench/kernel/pacedNode.ts";
import { fitCosts, type Observation } from "../../bench/model/fit.ts";
import { predict } from "../../bench/model/predict.ts";
import { type CostProfile, NotAProfile, readProfile } from "../../bench/model/profile.ts";
import { setWork } from "../../bench/model/setWork.ts";
import { type UpdateSteps, updateMs } from "../../bench/model/updateCost.ts";
import { Random } from "../../bench/workloads/random.ts";
import { RULE_SET_NODE, ruleSetCluster, ruleSetPacket } from "../../bench/workloads/ruleSet.ts";
import { compileNode, resolvePolicies } from "../../compiler/compile.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { mapOperation } from "../../compiler/update/commands.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { type Cidr, type IpAddress, parseAddress, parseCidr } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import type { IPSet, Program } from "../../dataplane/program.ts";
import { formatValidations, summaryOf } from "../../format/bench/model.ts";
import { PLAIN } from "../../format/paint.ts";

const TRUTH = new Map([
  ["packet", 800],
  ["rule", 4],
  ["match ports", 18],
  ["set hash:ip", 65],
  ["jump", 20],
]);

/** What a machine with these costs would show, with noise of so many percent. */
function observed(counts: readonly (readonly [string, number])[], percent: number, random: Random): Observation {
  const cost = counts.reduce((sum, [kind, count]) => sum + count * (TRUTH.get(kind) ?? 0), 0);
  const measured = Array.from(
    { length: 9 },
    () => cost * (1 + ((random.below(2_001) - 1_000) / 1_000) * (percent / 100)),
  );
  return { counts: new Map(counts), measured };
}

function observations(percent: number): readonly Observation[] {
  const random = new Random(7);
  return [
    observed([["packet", 1]], percent, random),
    observed(
      [
        ["packet", 1],
        ["rule", 1_000],
      ],
      percent,
      random,
    ),
    observed(
      [
        ["packet", 1],
        ["rule", 200],
        ["match ports", 200],
      ],
      percent,
      random,
    ),
    observed(
      [
        ["packet", 1],
        ["rule", 100],
        ["set hash:ip", 100],
      ],
      percent,
      random,
    ),
    observed(
      [
        ["packet", 1],
        ["rule", 200],
        ["jump", 200],
      ],
      percent,
      random,
    ),
  ];
}

describe("fitting a profile", () => {
  it("recovers the costs that data were made with", () => {
    const fitted = fitCosts(observations(0), { seed: 1 });
    for (const [kind, ns] of TRUTH) expect(fitted[kind]?.ns).toBeCloseTo(ns, 3);
  });

  it("comes near them through noise, and its error bars say how near", () => {
    const fitted = fitCosts(observations(4), { seed: 1 });
    for (const [kind, ns] of TRUTH) {
      expect(Math.abs((fitted[kind]?.ns ?? 0) / ns - 1)).toBeLessThan(0.2);
      const [low, high] = fitted[kind]?.ci95 ?? [0, 0];
      expect(low).toBeLessThanOrEqual(fitted[kind]?.ns ?? 0);
      expect(high).toBeGreaterThanOrEqual(fitted[kind]?.ns ?? 0);
      expect(high - low).toBeGreaterThan(0);
    }
  });

  it("finds no cost below zero, whatever the noise", () => {
    const odd = [
      { counts: new Map([["packet", 1]]), measured: [1_000] },
      {
        counts: new Map([
          ["packet", 1],
          ["chain", 2],
        ]),
        measured: [990],
      },
    ];
    const fitted = fitCosts(odd, { seed: 1 });
    expect(fitted.chain?.ns).toBe(0);
  });
});

const PROFILE: CostProfile = {
  name: "toy",
  variant: "legacy",
  environment: {},
  coefficients: { rule: { ns: 5, ci95: [4, 6] }, jump: { ns: 20, ci95: [20, 20] } },
  updates: {},
  curves: {
    trie: [
      { entries: 10, ns: 40, ci95: [30, 50] },
      { entries: 1_000, ns: 80, ci95: [70, 90] },
    ],
  },
};

describe("a prediction", () => {
  it("is counts times costs, error bars included", () => {
    const counts = new Map([
      ["rule", 10],
      ["jump", 2],
    ]);
    expect(predict(counts, PROFILE)).toEqual({ ns: 90, ci95: [80, 100], unknown: [] });
  });

  it("takes what grows with size from between the measured sizes, by their logarithm", () => {
    const nsAt = (entries: number) => predict(new Map([[`trie ${entries}`, 1]]), PROFILE).ns;
    expect([1, 10, 100, 1_000, 5_000].map(nsAt)).toEqual([40, 40, 60, 80, 80]);
  });

  it("says what it has no cost for", () => {
    expect(predict(new Map([["match limit", 1]]), PROFILE)).toMatchObject({ ns: 0, unknown: ["match limit"] });
  });
});

describe("predictions beside measurements", () => {
  const row = {
    strategy: "romana",
    policies: 1,
    state: "new" as const,
    rules: 3,
    lookups: 0,
    predicted: 110,
    predictedCi95: [100, 120] as const,
  };

  it("are held to what is sure, and the rest is said", () => {
    const sure = { ...row, measured: 100, noise: 5, error: 0.1, unknown: [] };
    const off = { ...sure, measured: 50, error: 1.2 };
    const unsure = { ...sure, measured: 100, noise: 90, error: 9 };
    expect(summaryOf([sure, off, unsure])).toBe(
      "1 of 2 within 25 %, median error 65 %; 1 more cannot be told from the noise",
    );
    expect(formatValidations([sure, unsure], "md", PLAIN)).toEqual([
      "| strategy | policies | connection | work | predicted ns | measured ns | noise ns | error |",
      "| --- | --- | --- | --- | --- | --- | --- | --- |",
      "| romana | 1 | new | 3 rules | 110 | 100 | ±5.00 | +10 % |",
      "| romana | 1 | new | 3 rules | 110 | 100 | ±90.0 | in the noise |",
      "",
      "1 of 1 within 25 %, median error 10 %; 1 more cannot be told from the noise",
    ]);
    const maps = { ...sure, rules: 0, lookups: 4 };
    expect(formatValidations([maps], "md", PLAIN)[2]).toContain("| new | 4 look-ups |");
  });
});

describe("a profile", () => {
  it("survives being written and read", () => {
    expect(readProfile(JSON.stringify(PROFILE))).toEqual(PROFILE);
  });

  it("that is none is refused with the place", () => {
    const broken = { ...PROFILE, coefficients: { rule: { ns: "5", ci95: [4, 6] } } };
    expect(() => readProfile(JSON.stringify(broken))).toThrow(/coefficients\.rule\.ns/);
    expect(() => readProfile("{")).toThrow(NotAProfile);
  });
});

describe("counting work", () => {
  it("finds in each experiment the work it is there for, as often as it says", () => {
    const counted = (name: string) => {
      const experiment = EXPERIMENTS.find((one) => one.name === name);
      return experiment && Object.fromEntries(countWork(experiment.program, openingOf(0), "established") ?? []);
    };
    expect(counted("bare")).toEqual({ "conntrack established": 1 });
    expect(counted("filter alone")).toEqual({ "conntrack established": 1, chain: 1 });
    expect(counted("50 × jump")).toMatchObject({ chain: 1, rule: 50, jump: 50 });
    expect(counted("200 × mark")).toMatchObject({ rule: 200, "match mark": 200 });
    // A match behind one that fails is not asked, one before it is.
    expect(counted("50 × comment")).toMatchObject({ rule: 50, "match comment": 50, "match mark": 50 });
    expect(counted("1000 × rule, other source")).toEqual({ "conntrack established": 1, chain: 1, rule: 1_000 });
    expect(counted("100 × hash:ip,port")).toMatchObject({ "match set": 100, "set hash:ip,port": 100 });
    expect(counted("100 × hash:net of twelve lengths")).toMatchObject({ "set hash:net": 100, "prefix length": 1_200 });
    // A rule asks a list, and the list its sets.
    expect(counted("50 × list:set of six sets")).toMatchObject({
      "match set": 50,
      "set list:set": 50,
      "set hash:ip": 300,
    });
    expect(counted("100 × hash:ip that has it")).toMatchObject({ "set hash:ip": 100, "set member": 100 });
    expect(counted("100 × hash:ip")).not.toHaveProperty("set member");
    expect(counted("50 × reverse path")).toMatchObject({ "match rpfilter": 50 });
  });

  it("asks a set for its prefix lengths, longest first, and a list for its sets, up to the entry that decides", () => {
    const net = (text: string, nomatch = false) => ({ kind: "net", cidr: parseCidr(text) as Cidr, nomatch }) as const;
    const set = (name: string, type: IPSet["type"], members: IPSet["members"]): IPSet => ({
      name,
      type,
      family: 4,
      members,
      options: {},
    });
    const blocks = [net("10.0.0.0/8"), net("10.1.0.0/16"), net("10.1.2.0/24", true), net("192.0.2.1/32")];
    const sets = [
      set("blocks", "hash:net", blocks),
      set("pods", "hash:ip", [net("10.9.0.1/32")]),
      set(
        "list",
        "list:set",
        ["blocks", "pods"].map((name) => ({ kind: "set", set: name })),
      ),
    ];
    const work = (name: string, source: string) => {
      const match = { kind: "set", set: name, sides: ["source"], negate: false } as const;
      const packet = makePacket({
        protocol: PROTOCOL.tcp,
        source: parseAddress(source) as IpAddress,
        destination: parseAddress("10.0.0.1") as IpAddress,
      });
      return setWork(new Map(sets.map((one) => [one.name, one])), match, packet).join(", ");
    };
    const tried = (lengths: number) => ["set hash:net", ...Array(lengths).fill("prefix length")].join(", ");
    expect(work("blocks", "192.0.2.1")).toBe(`${tried(1)}, set member`);
    expect(work("blocks", "10.1.2.3")).toBe(`${tried(2)}, set member`);
    expect(work("blocks", "10.1.9.9")).toBe(`${tried(3)}, set member`);
    expect(work("blocks", "172.16.0.1")).toBe(tried(4));
    // An exception is a no: the list's next set is asked.
    expect(work("list", "10.1.2.3")).toBe(`set list:set, ${tried(2)}, set member, set hash:ip`);
    expect(work("list", "10.1.9.9")).toBe(`set list:set, ${tried(3)}, set member`);
  });

  it("names the size of the maps it looks into", () => {
    const program = compileNode(resolvePolicies(ruleSetCluster(100)), ciliumEbpf, { node: RULE_SET_NODE });
    const kinds = [...(countWork(program, ruleSetPacket(7, 1), "new") ?? new Map()).keys()];
    expect(kinds.filter((kind) => /^(trie|map) \d+$/.test(kind)).length).toBeGreaterThanOrEqual(2);
  });
});

describe("windows in milliseconds", () => {
  const each = (ns: number) => ({ ns, ci95: [ns, ns] as [number, number] });
  const updates = {
    "command ipset restore": each(2e6),
    "set element": each(1e4),
    "command iptables-restore": each(3e6),
    "rule of a restore": each(5e3),
  };
  const element = { kind: "set", command: { verb: "flush", set: "x" } } as const;
  const rule = { verb: "flush", chain: "INPUT" } as const;
  const operations: readonly Operation[] = [
    { tool: "ipset", args: ["restore"], stdin: "", parts: [element, element, element, element], cause: "" },
    {
      tool: "iptables-restore",
      args: [],
      stdin: "",
      parts: [{ kind: "commit", family: 4, table: "filter", flush: true, commands: [rule, rule] }],
      cause: "",
    },
  ];

  const nothing = {
    strategy: "",
    node: "",
    attachment: { uplink: "", pods: [], remotePodAddresses: [], localAddresses: [] },
  };
  const empty: Program = { ...nothing, kind: "tables", sets: [], families: [] };
  const commands: UpdateSteps = { operations, before: empty, after: empty };

  it("are the rest of the command they begin in, and those up to the part that ends them", () => {
    const window = { from: { operation: 1, part: 3 }, to: { operation: 2, part: 1 } };
    expect(updateMs(commands, window, { updates })).toBeCloseTo(0.01 + 3 + 0.01, 9);
    const whole = { from: { operation: 0, part: 0 }, to: { operation: 1, part: 2 } };
    expect(updateMs(commands, whole, { updates })).toBeCloseTo(2 + 0.02, 9);
  });

  it("are not known where the profile does not know a command", () => {
    const { "rule of a restore": _rule, ...less } = updates;
    const window = { from: { operation: 1, part: 3 }, to: { operation: 2, part: 1 } };
    expect(updateMs(commands, window, { updates: less })).toBeUndefined();
  });

  it("of writes into maps go by the kind of map, and end where an endpoint's program is loaded", () => {
    const maps = ["hash", "lpm-trie"].map((type) => ({
      name: `a ${type}`,
      type,
      keyBytes: 1,
      valueBytes: 1,
      maxEntries: 9,
    }));
    const program = { ...nothing, kind: "maps", maps: maps.map((map) => ({ ...map, entries: [] })), attachPoints: [] };
    const byte = Uint8Array.of(1);
    const written: readonly Operation[] = [
      mapOperation({ verb: "update", map: "a hash", entry: { key: byte, value: byte } }, ""),
      mapOperation({ verb: "update", map: "a lpm-trie", entry: { key: byte, value: byte } }, ""),
      mapOperation({ verb: "delete", map: "a lpm-trie", key: byte }, ""),
      mapOperation({ verb: "detach", endpoint: "x/y" }, ""),
    ];
    const step = { operations: written, before: program, after: program } as unknown as UpdateSteps;
    const writes = {
      "map update, hash": each(1_000),
      "map update, lpm-trie": each(20_000),
      "map delete, lpm-trie": each(300_000),
    };
    const to = (operation: number) => ({ from: { operation: 0, part: 0 }, to: { operation, part: 1 } });
    expect([1, 2, 3, 4].map((last) => updateMs(step, to(last), { updates: writes })?.toFixed(3))).toEqual([
      "0.001",
      "0.021",
      "0.321",
      undefined,
    ]);
    expect(updateMs(step, to(1), { updates })).toBeUndefined();
  });
});
