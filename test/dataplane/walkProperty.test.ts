/** The walk against a second, naive interpreter (naive.ts) over random programs and packets. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TableMemo } from "../../dataplane/classes/tableMemo.ts";
import { DeviceTable } from "../../dataplane/devices.ts";
import { appendPacket, createBatch, makePacket, PATH, type Packet, type PacketBatch } from "../../dataplane/packet.ts";
import type { Attachment, Chain, Match, TableProgram } from "../../dataplane/program.ts";
import { createResults, type ResultBatch, type WalkEntry } from "../../dataplane/result.ts";
import { NodeRoutes } from "../../dataplane/routes.ts";
import { TableWalker } from "../../dataplane/tables/walk.ts";
import { type TraceStep, WalkRecorder } from "../../dataplane/trace.ts";
import { CT_STATES, VERDICTS } from "../../dataplane/verdict.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NODES, OUTSIDE, PLACES, PORTS } from "../../verify/fuzz/domain.ts";
import { deepProgramArbitrary, withoutConnmark } from "../arbitraries/deepProgram.ts";
import { ATTACHMENT } from "../arbitraries/program.ts";
import { runsOf } from "../extent.ts";
import { ConnectionsByRow, GivenConnections } from "./givenConnections.ts";
import { type NaiveDevices, type NaiveInput, naiveWalk } from "./naive.ts";

const bridged: Attachment = {
  ...ATTACHMENT,
  bridge: "weave",
  remotePodsPort: "vethwe-bridge",
  remotePodAddresses: PLACES.filter(({ node }) => node !== "node-a").flatMap(({ ipv4, ipv6 }) => [
    address(ipv4),
    address(ipv6),
  ]),
};

const ODD = {
  ipv4: ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"],
  ipv6: ["::", "::1", "ff02::1", "::ffff:10.1.0.2"],
};

const packetArbitrary: fc.Arbitrary<Packet> = fc.constantFrom<"ipv4" | "ipv6">("ipv4", "ipv4", "ipv6").chain((name) => {
  const usual = [...PLACES, ...NODES].map((place) => place[name]);
  const end = fc.constantFrom(...usual, ...OUTSIDE[name], ...ODD[name]).map(address);
  const port = fc.constantFrom(0, ...PORTS, 40_000, 65_535);
  return fc
    .record({
      protocol: fc.constantFrom(6, 6, 17, 132, 136, 33, name === "ipv4" ? 1 : 58, 1, 58, 47, 200),
      source: end,
      destination: end,
      sourcePort: port,
      destinationPort: port,
      tcpFlags: fc.nat(63),
      icmpType: fc.constantFrom(0, 3, 8, 11, 128, 129, 135, 254, 255),
      icmpCode: fc.constantFrom(0, 1, 255),
      fragment: fc.constantFrom(false, false, false, true),
    })
    .map(makePacket);
});

const DEVICE_NAMES = ["", "eth0", "cali0", "cali1", "weave", "lo"];

const inputArbitrary: fc.Arbitrary<NaiveInput> = fc.record({
  packet: packetArbitrary,
  devices: fc.record({
    path: fc.constantFrom("forward", "input", "output"),
    in: fc.constantFrom(...DEVICE_NAMES),
    out: fc.constantFrom(...DEVICE_NAMES),
    physIn: fc.constantFrom("", "", "cali0", "vethwe-bridge"),
    physOut: fc.constantFrom("", "", "cali1", "eth0"),
  }),
  mark: fc.constantFrom(0, 0x10000, 0x20000, 0xffff_ffff),
  state: fc.constantFrom(...CT_STATES),
  connmark: fc.constantFrom(0, 0x10000, 0xffff_ffff),
  isPending: fc.boolean(),
});

function pathOf({ path }: NaiveDevices): number {
  return PATH[path];
}

function place(entry: { readonly table: string; readonly chain: string; readonly rule: number } | undefined) {
  return entry === undefined ? undefined : ([entry.table, entry.chain, entry.rule] as const);
}

/** A batch of the inputs with the marks and devices they name. */
function batchOf(inputs: readonly NaiveInput[], devices: DeviceTable): PacketBatch {
  const batch = createBatch(inputs.length);
  for (const input of inputs) {
    const row = appendPacket(batch, input.packet);
    batch.mark[row] = input.mark;
    batch.path[row] = pathOf(input.devices);
    batch.inDevice[row] = devices.number(input.devices.in);
    batch.outDevice[row] = devices.number(input.devices.out);
    batch.physInDevice[row] = devices.number(input.devices.physIn);
    batch.physOutDevice[row] = devices.number(input.devices.physOut);
  }
  return batch;
}

/** Columns as one text, which is compared faster than the columns. */
function textOf(results: ResultBatch): string {
  return Object.entries(results)
    .map(([name, column]) => `${name} ${column.join()}`)
    .join("\n");
}

/**
 * The inputs, and each with one field of the next one in its place: random packets are seldom of one kind, these often
 * are.
 */
function withNeighbours(inputs: readonly NaiveInput[]): readonly NaiveInput[] {
  return inputs.flatMap((input, index) => {
    const neighbour = inputs[(index + 1) % inputs.length] ?? input;
    const other = neighbour.packet;
    const { family } = input.packet.source;
    const changes: readonly Partial<Packet>[] = [
      {},
      family === other.source.family ? { source: other.source } : { sourcePort: other.sourcePort },
      family === other.source.family ? { destination: other.destination } : { destinationPort: other.destinationPort },
      [{ sourcePort: other.sourcePort }, { tcpFlags: other.tcpFlags }, { icmpCode: other.icmpCode }][index % 3] ?? {},
      family === other.source.family ? { protocol: other.protocol } : {},
    ];
    const { mark, devices, connmark, state } = neighbour;
    const elsewhere = [{ mark }, { devices: { ...devices, path: input.devices.path } }, { connmark }, { state }];
    const inPlace = changes.map((change) => ({ ...input, packet: { ...input.packet, ...change } }));
    return [...inPlace, ...elsewhere.map((change) => ({ ...input, ...change }))];
  });
}

/**
 * Pushes the inputs through a walker and through an engine that remembers, each with connections of its own: results,
 * marks and zones must be the same, for the first packet of a kind and for later ones. The number of kinds.
 */
function compareEngines(program: TableProgram, inputs: readonly NaiveInput[]): number {
  const devices = new DeviceTable();
  const routes = new NodeRoutes(program.attachment, devices);
  const batch = batchOf(inputs, devices);
  const walked = new ConnectionsByRow(inputs);
  const remembered = new ConnectionsByRow(inputs);
  const walker = new TableWalker(program, { devices, routes, connections: walked });
  const memo = new TableMemo(program, { devices, routes, connections: remembered });
  const [expected, actual] = [createResults(inputs.length), createResults(inputs.length)];
  walker.attach(batch, expected, undefined);
  memo.attach(batch, actual, undefined);
  // Twice, since what a limit says changes with each packet and with time.
  for (let time = 0; time < 2; time++) {
    batch.time.fill(time * 7);
    walker.runRows(0, inputs.length);
    memo.runRows(0, inputs.length);
    expect(textOf(actual)).toBe(textOf(expected));
    expect(remembered.told.join()).toBe(walked.told.join());
  }
  // A listener hears the same, whoever decided the packets before it came.
  const [quiet, heard] = [new WalkRecorder(undefined), new WalkRecorder(undefined)];
  walker.attach(batch, expected, quiet);
  memo.attach(batch, actual, heard);
  walker.runRows(0, inputs.length);
  memo.runRows(0, inputs.length);
  expect(heard.walkOn(program.node).join()).toBe(quiet.walkOn(program.node).join());
  return memo.size;
}

describe("a walk of random programs", () => {
  const count = { packets: 0, matched: 0, dropped: 0, kinds: 0 };

  it("gives the verdict, the deciding rule, the matched rules and the work of a naive interpreter; so does a memo", () => {
    const property = fc.property(
      deepProgramArbitrary,
      fc.constantFrom(ATTACHMENT, bridged),
      fc.array(inputArbitrary, { minLength: 1, maxLength: 20 }),
      (drawn, attachment, inputs) => {
        const program = { ...drawn, attachment };
        const devices = new DeviceTable();
        const connections = new GivenConnections();
        const surroundings = { devices, routes: new NodeRoutes(attachment, devices), connections };
        // One runs in silence, one with a listener: the listener must change nothing.
        const walker = new TableWalker(program, surroundings);
        const traced = new TableWalker(program, surroundings);
        const limits = new Map<Match, number>();
        const batch = batchOf(inputs, devices);
        for (const [row, input] of inputs.entries()) {
          connections.state = input.state;
          connections.isPending = input.isPending;

          const expected = naiveWalk(program, input, limits);
          const [silent, heard] = [createResults(inputs.length), createResults(inputs.length)];
          const recorder = new WalkRecorder(undefined);
          walker.attach(batch, silent, undefined);
          connections.mark = input.connmark;
          walker.run(row);
          const connmark = connections.mark >>> 0;
          traced.attach(batch, heard, recorder);
          connections.mark = input.connmark;
          traced.run(row);

          expect(heard).toEqual(silent);
          const decided = walker.decision(silent.decision[row] ?? 0).decision;
          expect({
            verdict: VERDICTS[silent.verdict[row] ?? 0],
            decidedBy: place(decided?.kind === "rule" ? decided : undefined),
            walk: recorder.walkOn(program.node),
            rules: silent.rules[row],
            chains: silent.chains[row],
            setLookups: silent.setLookups[row],
            state: CT_STATES[silent.ctState[row] ?? 0],
            connmark: expected.state === "invalid" || expected.state === "untracked" ? expected.connmark : connmark,
          }).toEqual(expected);
          count.packets++;
          count.matched += expected.walk.length;
          if (expected.verdict !== "accept") count.dropped++;
        }
        const neighbours = withNeighbours(inputs.slice(0, 7));
        const compared = inputs.length % 2 === 0 ? program : withoutConnmark(program);
        count.kinds += compareEngines(compared, neighbours) / neighbours.length;
      },
    );
    const runs = runsOf(1_000);
    fc.assert(property, { numRuns: runs });
    // The comparison is worth something only when rules match and packets are refused.
    expect(count.packets / runs).toBeGreaterThan(5);
    expect(count.matched / count.packets).toBeGreaterThan(1);
    expect(count.dropped / runs).toBeGreaterThan(0.5);
    // and when some packets are of one kind, and not all.
    expect(count.kinds / runs).toBeGreaterThan(0.2);
    expect(count.kinds / runs).toBeLessThan(0.8);
  });

  it("is remembered apart for related packets with an entry of their own: nat is walked for them (seed 113070508)", () => {
    const drop: Chain = { name: "POSTROUTING", policy: "drop", rules: [{ matches: [], target: { kind: "accept" } }] };
    const program: TableProgram = {
      kind: "tables",
      strategy: "test",
      node: "node-a",
      sets: [],
      families: [{ family: 4, tables: [{ name: "nat", chains: [drop] }] }],
      attachment: ATTACHMENT,
    };
    const known: NaiveInput = {
      packet: makePacket({ protocol: 1, source: address("10.1.0.2"), destination: address("10.1.1.2"), icmpType: 3 }),
      devices: { path: "forward", in: "cali0", out: "eth0", physIn: "", physOut: "" },
      mark: 0,
      state: "related",
      connmark: 0,
      isPending: false,
    };
    // Both orders, since the first of a kind is the one that is remembered; many, so that classes are worth their price.
    for (const first of [false, true]) {
      const inputs = Array.from({ length: 40 }, (_, index) => ({
        ...known,
        isPending: index % 2 === 0 ? first : !first,
      }));
      expect(compareEngines(program, inputs)).toBe(1);
    }
  });

  it("tells a listener each rule it evaluates, with the match that failed", () => {
    const property = fc.property(deepProgramArbitrary, inputArbitrary, (program, input) => {
      const devices = new DeviceTable();
      const connections = new GivenConnections();
      const walker = new TableWalker(program, {
        devices,
        routes: new NodeRoutes(program.attachment, devices),
        connections,
      });
      const batch = createBatch(1);
      const row = appendPacket(batch, input.packet);
      batch.path[row] = pathOf(input.devices);
      const results = createResults(1);
      const steps: TraceStep[] = [];
      walker.attach(batch, results, { step: (step) => steps.push(step) });
      walker.run(row);
      const rules = steps.filter((step) => step.kind === "rule");
      expect(rules.length).toBe(results.rules[row]);
      for (const { rule, failed } of rules) if (failed !== undefined) expect(rule.matches).toContain(failed);
      const walk: WalkEntry[] = rules
        .filter(({ failed }) => failed === undefined)
        .map(({ table, chain, number }) => [table, chain, number]);
      expect(walk).toEqual(
        naiveWalk(
          program,
          { ...input, mark: 0, connmark: 0, state: "new", isPending: true, devices: withoutDevices(input) },
          new Map(),
        ).walk,
      );
    });
    fc.assert(property, { numRuns: runsOf(200) });
  });
});

/** No devices at all, on the same way. */
function withoutDevices({ devices }: NaiveInput): NaiveDevices {
  return { path: devices.path, in: "", out: "", physIn: "", physOut: "" };
}
