/** What rules write on packets and connections, and read again: boxes against packets, rule by rule. */
import { describe, expect, it } from "vitest";
import { Fabric } from "../../dataplane/fabric.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { Match, Rule, Table, TableProgram, Target } from "../../dataplane/program.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { PairQuestion } from "../../verify/pairs/question.ts";
import { ATTACHMENT } from "../arbitraries/program.ts";
import { decided, pushed } from "./pairsAsked.ts";

const [CLIENT, SERVER] = ["10.1.0.2", "10.1.0.3"].map(address);
const PORTS = [80, 81].map((port) => ({ protocol: PROTOCOL.tcp, port }));

const dropAll: Target = { kind: "drop" };
const rule = (target: Target, ...matches: readonly Match[]): Rule => ({ matches, target });
const mark = (value: number, mask: number): Target => ({ kind: "mark", value, mask });
const connmark = (operation: "set" | "save" | "restore", value: number, mask: number): Target => ({
  kind: "connmark",
  operation,
  value,
  mask,
});
const marked = (kind: "mark" | "connmark", value: number, mask: number, negate = false): Match => ({
  kind,
  value,
  mask,
  negate,
});
const ofPort = (first: number): Match => ({
  kind: "ports",
  side: "destination",
  ranges: [{ first, last: first }],
  extension: "tcp",
  negate: false,
});

function program(tables: Readonly<Record<string, readonly Rule[]>>): TableProgram {
  const table = (name: Table["name"], hook: string): Table[] => {
    const rules = tables[name];
    return rules === undefined ? [] : [{ name, chains: [{ name: hook, policy: "accept", rules }] }];
  };
  return {
    kind: "tables",
    strategy: "marks",
    node: "node-a",
    sets: [],
    families: [
      {
        family: 4,
        tables: [...table("raw", "PREROUTING"), ...table("mangle", "PREROUTING"), ...table("filter", "FORWARD")],
      },
    ],
    attachment: ATTACHMENT,
  };
}

/** By port, as packets are told, and as boxes are. */
function both(tables: TableProgram): readonly [pushed: string, together: string] {
  const [from, to] = [CLIENT, SERVER];
  if (from === undefined || to === undefined) throw new Error("no ends");
  const question = new PairQuestion([from, to], PORTS);
  const fromClient = (verdicts: readonly string[] | undefined) =>
    PORTS.map((_, port) => verdicts?.[2 * port + 1]).join();
  return [
    fromClient(pushed(new Fabric([tables]), question.ends, PORTS)),
    fromClient(decided(question, [tables], question.allEnds)),
  ];
}

describe("boxes know what rules write", () => {
  it.each<readonly [what: string, verdicts: string, tables: Readonly<Record<string, readonly Rule[]>>]>([
    [
      "a mark is flipped where it is set outside of the mask",
      "accept,drop",
      { filter: [rule(mark(3, 3)), rule(mark(1, 2), ofPort(81)), rule(dropAll, marked("mark", 0, 3))] },
    ],
    [
      "a mark of one table is there in the next",
      "drop,accept",
      { mangle: [rule(mark(4, 4), ofPort(80))], filter: [rule(dropAll, marked("mark", 4, 4))] },
    ],
    [
      "a connection keeps of a mark what the mask has",
      "accept,drop",
      {
        mangle: [rule(mark(5, 7), ofPort(80)), rule(mark(1, 7), ofPort(81)), rule(connmark("save", 0, 3))],
        filter: [rule(dropAll, marked("connmark", 1, 7), ofPort(81)), rule(dropAll, marked("connmark", 5, 7))],
      },
    ],
    [
      "a packet is given back what the mask has",
      "accept,drop",
      {
        mangle: [rule(connmark("set", 6, 7)), rule(mark(1, 1)), rule(connmark("restore", 0, 2), ofPort(81))],
        filter: [rule(dropAll, marked("mark", 3, 7)), rule(dropAll, marked("mark", 7, 7))],
      },
    ],
    [
      "before connection tracking nothing is kept",
      "accept,accept",
      { raw: [rule(connmark("set", 1, 1))], filter: [rule(dropAll, marked("connmark", 1, 1))] },
    ],
    [
      "nor is there anything to match, negated or not",
      "accept,accept",
      { raw: [rule(dropAll, marked("connmark", 1, 1)), rule(dropAll, marked("connmark", 1, 1, true))], filter: [] },
    ],
    [
      "a packet is invalid at first and new then",
      "drop,accept",
      {
        raw: [rule(mark(1, 1), { kind: "ctState", states: ["invalid"], extension: "conntrack", negate: false })],
        filter: [
          rule(
            dropAll,
            marked("mark", 1, 1),
            { kind: "ctState", states: ["new"], extension: "conntrack", negate: false },
            ofPort(80),
          ),
        ],
      },
    ],
  ])("%s", (_what, verdicts, tables) => {
    const [pushed, together] = both(program(tables));
    expect(pushed).toBe(verdicts);
    expect(together).toBe(verdicts);
  });
});

it("of two nodes that claim an address the first has it", () => {
  const [from, to] = [CLIENT, address("203.0.113.9")];
  if (from === undefined) throw new Error("no end");
  const open = program({ filter: [] });
  const closed = { ...program({ filter: [rule(dropAll)] }), node: "node-b" };
  const question = new PairQuestion([from, to], PORTS);
  for (const all of [
    [open, closed],
    [closed, open],
  ]) {
    expect(decided(question, all, question.allEnds)).toEqual(pushed(new Fabric(all), question.ends, PORTS));
  }
});
