/** Generated traffic: a function of its seed, in order of time, and connections as connection tracking likes them. */
import { describe, expect, it } from "vitest";
import { formatAddress, parseAddress } from "../../dataplane/address.ts";
import { hasPorts, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { generateMix, type MixOptions, readMix, unmatchedNames } from "../../traffic/generate/mix.ts";
import { generatePattern, PATTERNS, type PatternName, type PatternOptions } from "../../traffic/generate/patterns.ts";
import { SeededRandom } from "../../traffic/generate/random.ts";
import type { TrafficEnd } from "../../traffic/generate/sessions.ts";
import { chainwalk, linesOf } from "../cli/commandLine.ts";
import { statesOf } from "./connectionStates.ts";
import { readTraffic } from "./readTraffic.ts";

function end(name: string, ...addresses: readonly string[]): TrafficEnd {
  return { name, addresses: addresses.map((text) => parseAddress(text) ?? { family: 4, words: [0] }) };
}
const ENDS = [
  end("shop/web", "10.0.1.5", "fd00::5"),
  end("shop/api", "10.0.1.6"),
  end("shop/db", "fd00::7", "10.0.2.7"),
  end("shop/six", "fd00::8"),
];
const OPTIONS: PatternOptions = {
  sources: ENDS,
  destinations: ENDS,
  ports: [
    { protocol: PROTOCOL.tcp, port: 80 },
    { protocol: PROTOCOL.udp, port: 53 },
    { protocol: PROTOCOL.sctp, port: 5000 },
  ],
  seed: 1,
  start: 1000,
  count: 100,
  rate: 100,
};
const NAMES = Object.keys(PATTERNS) as PatternName[];

const tupleOf = ({ protocol, source, sourcePort, destination, destinationPort }: Packet) =>
  [protocol, formatAddress(source), sourcePort, formatAddress(destination), destinationPort].join(" ");

describe("patterns", () => {
  it.each(NAMES)("%s: equal seeds give equal packets, in order of time; other seeds others", (name) => {
    const packets = [...generatePattern(name, OPTIONS)];
    const text = JSON.stringify(packets);
    expect(JSON.stringify([...generatePattern(name, OPTIONS)]) === text).toBe(true);
    expect(JSON.stringify([...generatePattern(name, { ...OPTIONS, seed: 2 })]) === text).toBe(false);
    expect(packets.length).toBeGreaterThan(20);
    expect(packets[0]?.time).toBe(1000);
    expect(packets.every(({ time }, index) => index === 0 || time >= (packets[index - 1]?.time ?? 0))).toBe(true);
  });

  it.each(NAMES)("%s: no packet is invalid to connection tracking", (name) => {
    const packets = [...generatePattern(name, OPTIONS)];
    const states = statesOf(packets);
    expect(states.other).toBe(0);
    expect(states.new).toBeGreaterThan(10);
    if (name !== "scan" && name !== "syn-flood") expect(states.established).toBeGreaterThan(states.new);
    else expect(states.established).toBe(0);
  });

  it("all-pairs: every two ends with a family in common, both ways, on every port, once", () => {
    const opened = [...generatePattern("all-pairs", OPTIONS)].filter(
      ({ protocol, tcpFlags, sctpChunk, destinationPort }) =>
        (protocol === PROTOCOL.tcp && tcpFlags === TCP_FLAG.S) ||
        (protocol === PROTOCOL.udp && destinationPort === 53) ||
        (protocol === PROTOCOL.sctp && sctpChunk === 1),
    );
    // web-api, web-db, web-six, api-db, db-six; api has no IPv6.
    expect(opened).toHaveLength(5 * 2 * 3);
    expect(new Set(opened.map(tupleOf)).size).toBe(30);
  });

  it("zipf: the busiest pair has many times what the median has, which poisson's has not", () => {
    const counts = (name: PatternName) => {
      const found = new Map<string, number>();
      for (const packet of generatePattern(name, { ...OPTIONS, count: 1000 })) {
        const { source, destination, destinationPort, protocol, sourcePort } = packet;
        if (sourcePort < 32_768) continue;
        const key = [protocol, formatAddress(source), formatAddress(destination), destinationPort].join(" ");
        found.set(key, (found.get(key) ?? 0) + 1);
      }
      const sorted = [...found.values()].sort((a, b) => b - a);
      return (sorted[0] ?? 0) / (sorted[sorted.length >>> 1] ?? 1);
    };
    expect(counts("zipf")).toBeGreaterThan(5);
    expect(counts("poisson")).toBeLessThan(5);
  });

  it("poisson: gaps are as long as the rate says, and as uneven as chance makes them", () => {
    const random = new SeededRandom(3);
    const gaps = Array.from({ length: 20_000 }, () => random.gap(50));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    expect(mean).toBeCloseTo(0.02, 3);
    expect(deviation / mean).toBeCloseTo(1, 1);
  });
});

const MIX = {
  duration: 10,
  requests: [
    {
      from: "203.0.113.9",
      to: "shop/web",
      port: 80,
      rate: 10,
      responseBytes: 150_000,
      calls: [
        { to: "shop/api", port: 3000, requestBytes: 90_000, calls: [{ to: "shop/d*", port: 3306, probability: 0.5 }] },
      ],
    },
    { from: "shop/*", to: "shop/db", port: 53, protocol: "udp", rate: 5 },
  ],
};

describe("mixes", () => {
  const options: MixOptions = { ends: ENDS, seed: 1, start: 0 };
  const made = () => {
    const { mix, problems } = readMix(MIX);
    expect(problems).toEqual([]);
    if (mix === undefined) throw new Error("no mix");
    return [...generateMix(mix, options)];
  };

  it("answer after those they asked have answered, and open at the rates they are given", () => {
    const packets = made();
    expect(JSON.stringify(made()) === JSON.stringify(packets)).toBe(true);
    const opened = (port: number) =>
      packets.filter((packet) => packet.destinationPort === port && packet.tcpFlags === TCP_FLAG.S);
    const [front, api, db] = [opened(80), opened(3000), opened(3306)];
    expect(front.length).toBeGreaterThan(70);
    expect(front.length).toBeLessThan(130);
    expect(api).toHaveLength(front.length);
    expect(db.length / api.length).toBeGreaterThan(0.35);
    expect(db.length / api.length).toBeLessThan(0.65);
    const [first] = front;
    const answer = packets.find(
      ({ sourcePort, destinationPort, payloadBytes }) =>
        sourcePort === 80 && destinationPort === first?.sourcePort && payloadBytes > 0,
    );
    const innerEnd = packets.find(
      ({ destinationPort, tcpFlags }) => destinationPort === 3000 && (tcpFlags & TCP_FLAG.F) !== 0,
    );
    expect(answer?.time ?? 0).toBeGreaterThan(innerEnd?.time ?? Number.POSITIVE_INFINITY);
    expect(packets.filter(({ protocol }) => hasPorts(protocol)).every(({ time }) => time >= 0 && time < 11)).toBe(true);
  });

  it("of messages far above the window stay valid to connection tracking", () => {
    const states = statesOf(made());
    expect(states.other).toBe(0);
    expect(states.established).toBeGreaterThan(5000);
  });

  it("that are wrong are told with the place of everything", () => {
    const { mix, problems } = readMix({
      requests: [{ from: "a", to: "b", port: 70_000, rates: 1, calls: [{ to: "", port: 1, probability: 2 }] }, 7],
      length: 3,
    });
    expect(mix).toBeUndefined();
    expect(problems.map(({ path }) => path.join(".")).sort()).toEqual([
      "length",
      "requests.0.calls.0.probability",
      "requests.0.calls.0.to",
      "requests.0.port",
      "requests.0.rates",
      "requests.1",
      "requests.1.from",
      "requests.1.port",
      "requests.1.to",
    ]);
    const named = readMix({ requests: [{ from: "shop/web", to: "shop/nobody", port: 1 }] });
    expect(
      named.mix === undefined
        ? []
        : unmatchedNames(named.mix, ENDS).map(({ path, message }) => [path.join("."), message]),
    ).toEqual([["requests.0.to", "no pod is called shop/nobody; there are shop/web, shop/api, shop/db, shop/six"]]);
  });
});

describe("traffic, the verb", () => {
  const CLUSTER = "-f scenarios/db-policy/cluster.yaml";

  it("writes the same packets in every format", async () => {
    const binary: Uint8Array[] = [];
    const lines = await chainwalk(`traffic ${CLUSTER} --pattern poisson --count 20 --seed 5`);
    expect(lines.code).toBe(0);
    const asked = `traffic ${CLUSTER} --pattern poisson --count 20 --seed 5`;
    await chainwalk(`${asked} -o pcapng`, { binary });
    const pcapng = await readTraffic(Buffer.concat(binary));
    binary.length = 0;
    await chainwalk(`${asked} -o pcap`, { binary });
    const pcap = await readTraffic(Buffer.concat(binary));
    const read = await readTraffic(lines.out);
    const plain = ({ packet }: { packet: Packet }) => ({
      ...packet,
      time: Math.round(packet.time * 1e6),
      windowScale: undefined,
    });
    expect(pcapng.rows.map(plain)).toEqual(read.rows.map(plain));
    expect(pcap.rows.map(plain)).toEqual(read.rows.map(plain));
    expect(pcapng.source.names.get("10.10.1.10")).toBe("default/db");
    const text = await chainwalk(`${asked} -o text`);
    expect(linesOf(text.out)).toHaveLength(read.rows.length);
  });

  it("says what it needs", async () => {
    const none = await chainwalk(`traffic ${CLUSTER}`);
    expect([none.code, none.err]).toEqual([2, expect.stringContaining("--pattern (all-pairs, poisson")]);
    const terminal = await chainwalk(`traffic ${CLUSTER} --pattern idle -o pcap`, { terminalColumns: 80 });
    expect([terminal.code, terminal.err]).toEqual([2, expect.stringContaining("> traffic.pcap")]);
    const mix = await chainwalk(`traffic ${CLUSTER} --mix mix.yaml`, {
      files: { "mix.yaml": "requests:\n  - from: default/frontend\n    to: nobody\n    port: 80\n" },
    });
    expect([mix.code, mix.err]).toEqual([
      2,
      expect.stringContaining("mix.yaml:3:9: error: requests[0].to: no pod is called nobody"),
    ]);
  });
});
