import { describe, expect, it } from "vitest";
import { parseCidr } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import {
  BLOCK_KEY_BYTES,
  encodeBlockKey,
  encodeIpcacheKey,
  encodeIpcacheValue,
  encodePolicyAllow,
  encodePolicyKey,
  encodeTupleKey,
  encodeTupleValue,
  IPCACHE_KEY_BYTES,
  POLICY_KEY_BYTES,
  type PolicyMapKey,
  TUPLE_KEY_BYTES,
} from "../../dataplane/maps/layout.ts";
import type { AttachPoint, MapEntry, MapProgram, MapSpec, MapType } from "../../dataplane/program.ts";
import { TraceRecorder } from "../../dataplane/trace.ts";
import { cidr } from "../../verify/fuzz/builders.ts";
import { packetFrom, ROUTED } from "./nodeUnderTest.ts";

function mapOf(name: string, type: MapType, keyBytes: number, entries: readonly MapEntry[]): MapSpec {
  return { name, type, keyBytes, valueBytes: entries[0]?.value.length ?? 4, maxEntries: 100, entries };
}

/** default/zero (10.1.0.10, identity 300) and default/one (10.1.0.11, identity 301), each with a policy map. */
function identityProgram(policies: Readonly<Record<"zero" | "one", readonly MapEntry[]>>): MapProgram {
  const ipcache = [
    ["0.0.0.0/0", 2],
    ["10.1.0.10/32", 300],
    ["10.1.0.11/32", 301],
    ["192.168.0.11/32", 1],
    ["172.16.0.0/12", 16_777_217],
    ["172.16.5.0/24", 16_777_218],
  ] as const;
  return {
    kind: "maps",
    strategy: "test",
    node: "node-a",
    attachment: ROUTED,
    maps: [
      mapOf(
        "ipcache",
        "lpm-trie",
        IPCACHE_KEY_BYTES,
        ipcache.map(([prefix, identity]) => ({
          key: encodeIpcacheKey(cidr(prefix)),
          value: encodeIpcacheValue(identity),
        })),
      ),
      mapOf("policy-zero", "lpm-trie", POLICY_KEY_BYTES, policies.zero),
      mapOf("policy-one", "lpm-trie", POLICY_KEY_BYTES, policies.one),
    ],
    attachPoints: (["zero", "one"] as const).flatMap((pod) =>
      (["ingress", "egress"] as const).map(
        (direction): AttachPoint => ({
          endpoint: `default/${pod}`,
          direction,
          plan: { kind: "identity", ipcache: "ipcache", policy: `policy-${pod}` },
        }),
      ),
    ),
  };
}

const ANY = { protocol: 0, port: 0, portBits: 0 };

function allow(key: PolicyMapKey, origin?: string): MapEntry {
  return { key: encodePolicyKey(key), value: encodePolicyAllow(key), ...(origin && { origin }) };
}

/** An entry with a precedence and verdict of its own. */
function entry(key: PolicyMapKey, { precedence, deny }: { precedence: number; deny: boolean }): MapEntry {
  const value = encodePolicyAllow(key);
  const view = new DataView(value.buffer);
  view.setUint8(2, view.getUint8(2) | (deny ? 1 : 0));
  view.setUint32(4, precedence, true);
  return { key: encodePolicyKey(key), value };
}

const OPEN = (["ingress", "egress"] as const).map((direction) => allow({ direction, identity: 0, ...ANY }));
const TCP_80 = { protocol: 6, port: 80, portBits: 16 };

function verdictOf(policies: Parameters<typeof identityProgram>[0], ...lines: readonly string[]): readonly string[] {
  const fabric = new Fabric([identityProgram(policies)]);
  return lines.map((line) => fabric.push(packetFrom(line)).verdict);
}

describe("the identity plan", () => {
  const from = (source: string, port: number) => `tcp ${source}:4000 > 10.1.0.10:${port} S`;

  it("asks with the identity of the longest prefix around the peer", () => {
    const zero = [allow({ direction: "ingress", identity: 16_777_218, ...TCP_80 })];
    expect(
      verdictOf(
        { zero, one: OPEN },
        from("172.16.5.1", 80),
        from("172.16.6.1", 80),
        from("172.16.5.1", 81),
        from("8.8.8.8", 80),
      ),
    ).toEqual(["accept", "drop", "drop", "drop"]);
  });

  it("an entry leaves out the port, or protocol and port, or the last bits of the port", () => {
    const ingress = { direction: "ingress", identity: 301 } as const;
    const entries = (key: Omit<PolicyMapKey, "direction" | "identity">) => ({
      zero: [allow({ ...ingress, ...key })],
      one: OPEN,
    });
    const lines = [80, 81, 84].map((port) => from("10.1.0.11", port)).concat("udp 10.1.0.11:4000 > 10.1.0.10:80");
    expect(verdictOf(entries(TCP_80), ...lines)).toEqual(["accept", "drop", "drop", "drop"]);
    expect(verdictOf(entries({ protocol: 6, port: 80, portBits: 14 }), ...lines)).toEqual([
      "accept",
      "accept",
      "drop",
      "drop",
    ]);
    expect(verdictOf(entries({ protocol: 6, port: 0, portBits: 0 }), ...lines)).toEqual([
      "accept",
      "accept",
      "accept",
      "drop",
    ]);
    expect(verdictOf(entries(ANY), ...lines)).toEqual(["accept", "accept", "accept", "accept"]);
  });

  it("an unknown peer is the world", () => {
    const program = identityProgram({ zero: [allow({ direction: "ingress", identity: 2, ...TCP_80 })], one: [] });
    const [ipcache, ...others] = program.maps;
    if (ipcache === undefined) throw new Error("no ipcache");
    const fabric = new Fabric([{ ...program, maps: [{ ...ipcache, entries: ipcache.entries.slice(1) }, ...others] }]);
    expect(fabric.push(packetFrom(from("8.8.8.8", 80))).verdict).toBe("accept");
  });

  it("of the entries for the peer and for anybody, the higher precedence decides, then the longer port prefix", () => {
    const peer = { direction: "ingress", identity: 301, ...ANY } as const;
    const anybody = { direction: "ingress", identity: 0, ...ANY } as const;
    const decide = (zero: readonly MapEntry[]) => verdictOf({ zero, one: OPEN }, from("10.1.0.11", 80))[0];
    const deny = (key: PolicyMapKey, precedence: number) => entry(key, { precedence, deny: true });
    const accept = (key: PolicyMapKey, precedence: number) => entry(key, { precedence, deny: false });
    expect(decide([accept(peer, 0xffffff01), deny(anybody, 0xffffffff)])).toBe("drop");
    expect(decide([accept(anybody, 0xffffff01), deny(peer, 0xffffffff)])).toBe("drop");
    expect(decide([accept(peer, 0xffffff01), deny(anybody, 0xffffff00)])).toBe("accept");
    expect(decide([accept(peer, 5), deny({ ...anybody, ...TCP_80 }, 5)])).toBe("drop");
    expect(decide([accept(peer, 5), deny(anybody, 5)])).toBe("accept");
    expect(decide([deny(peer, 5), accept(anybody, 5)])).toBe("drop");
  });

  it("both ends on one node are asked in one hop, egress first", () => {
    const line = "tcp 10.1.0.10:4000 > 10.1.0.11:80 S";
    const [, egress] = OPEN;
    if (egress === undefined) throw new Error("no egress");
    const fabric = new Fabric([identityProgram({ zero: [egress], one: [] })], { walk: true });
    const result = fabric.push(packetFrom(line));
    expect(result).toMatchObject({
      verdict: "drop",
      reason: "policy",
      decidedBy: { kind: "map", map: "policy-one", key: "" },
    });
    expect(result.hops.length).toBe(1);
    expect(result.work).toEqual({
      rules: 0,
      chains: 0,
      setLookups: 0,
      mapLookups: 0,
      trieLookups: 6,
      conntrackLookups: 4,
    });
    expect(result.hops[0]?.walk?.map(([map]) => map)).toEqual([
      "ipcache",
      "policy-zero",
      "policy-zero",
      "ipcache",
      "policy-one",
      "policy-one",
    ]);
    const closed = new Fabric([identityProgram({ zero: [], one: OPEN })]).push(packetFrom(line));
    expect(closed).toMatchObject({ verdict: "drop", decidedBy: { map: "policy-zero" }, work: { conntrackLookups: 2 } });
  });

  it("says which entry decided, and for whom it is there", () => {
    const zero = [allow({ direction: "ingress", identity: 301, ...TCP_80 }, "default/allow ingress[0]")];
    const fabric = new Fabric([identityProgram({ zero, one: OPEN })]);
    expect(fabric.push(packetFrom(from("10.1.0.11", 80))).decidedBy).toEqual({
      kind: "map",
      node: "node-a",
      map: "policy-zero",
      key: "400000002d01000000060050",
      origin: "default/allow ingress[0]",
    });
  });

  it("tells a listener every key it asked with", () => {
    const zero = [allow({ direction: "ingress", identity: 301, ...TCP_80 })];
    const recorder = new TraceRecorder();
    new Fabric([identityProgram({ zero, one: OPEN })]).push(
      packetFrom("tcp 192.168.0.11:4000 > 10.1.0.10:80 S"),
      recorder,
    );
    const told = recorder.steps.map((step) => {
      if (step.kind === "lookup") return `${step.map} ${Buffer.from(step.key).toString("hex")} ${step.meaning}`;
      return step.kind === "conntrack" ? `ct ${step.state}` : step.kind === "verdict" ? step.verdict : step.kind;
    });
    expect(told).toEqual([
      "ct new",
      "ipcache 4000000000000001c0a8000b000000000000000000000000 identity 1",
      "policy-zero 400000000100000000060050 no entry",
      "policy-zero 400000000000000000060050 no entry",
      "drop",
    ]);
  });

  it("of IPv6 asks with all four words", () => {
    const program = identityProgram({ zero: [allow({ direction: "egress", identity: 777, ...ANY })], one: [] });
    const [ipcache, ...others] = program.maps;
    const prefix = parseCidr("2001:db8::/33");
    if (ipcache === undefined || prefix === undefined) throw new Error("no ipcache");
    const entries = [...ipcache.entries, { key: encodeIpcacheKey(prefix), value: encodeIpcacheValue(777) }];
    const fabric = new Fabric([{ ...program, maps: [{ ...ipcache, entries }, ...others] }]);
    expect(fabric.push(packetFrom("udp [fd00:1::10]:1 > [2001:db8:7fff::1]:53")).verdict).toBe("accept");
    expect(fabric.push(packetFrom("udp [fd00:1::10]:1 > [2001:db8:8000::1]:53")).verdict).toBe("drop");
  });
});

describe("flows of map programs", () => {
  const zero = [allow({ direction: "egress", identity: 2, ...ANY })];
  const program = identityProgram({ zero, one: OPEN });
  const out = "udp 10.1.0.10:4000 > 8.8.8.8:53";
  const back = "udp 8.8.8.8:53 > 10.1.0.10:4000";

  it("answers pass without policy, at the cost of one look-up", () => {
    const fabric = new Fabric([program]);
    expect(fabric.push(packetFrom(back))).toMatchObject({ verdict: "drop", ctState: "new" });
    expect(fabric.push(packetFrom(out))).toMatchObject({ verdict: "accept", ctState: "new" });
    expect(fabric.push(packetFrom(back))).toMatchObject({
      verdict: "accept",
      ctState: "established",
      decidedBy: undefined,
      work: { conntrackLookups: 1, trieLookups: 0 },
    });
  });

  it("policy is asked again for what the opening side sends: a rule taken away cuts it, the answers still pass", () => {
    const fabric = new Fabric([program]);
    fabric.push(packetFrom(out));
    fabric.push(packetFrom(back));
    expect(fabric.push(packetFrom(out))).toMatchObject({ ctState: "established", work: { trieLookups: 3 } });
    fabric.load([identityProgram({ zero: [], one: OPEN })]);
    expect(fabric.push(packetFrom(out)).verdict).toBe("drop");
    expect(fabric.push(packetFrom(back)).verdict).toBe("accept");
    fabric.flushConntrack();
    expect(fabric.push(packetFrom(back)).verdict).toBe("drop");
  });

  it("a refused packet leaves none; refused at the second end, it leaves one at the first", () => {
    const fabric = new Fabric([identityProgram({ zero: OPEN, one: OPEN.slice(1) })]);
    expect(fabric.push(packetFrom("udp 10.1.0.10:1 > 10.1.0.11:53")).verdict).toBe("drop");
    // The way back is new for default/one and an answer for default/zero.
    const result = fabric.push(packetFrom("udp 10.1.0.11:53 > 10.1.0.10:1"));
    expect(result).toMatchObject({ verdict: "accept", ctState: "established", work: { conntrackLookups: 3 } });
  });

  it("there is no invalid: a SYN+ACK out of nowhere is a beginning like any other", () => {
    const fabric = new Fabric([program]);
    expect(fabric.push(packetFrom("tcp 10.1.0.10:1 > 8.8.8.8:80 SA"))).toMatchObject({
      verdict: "accept",
      ctState: "new",
    });
  });

  it("TCP lives 60 seconds as a SYN, 8,000 after that, 10 once both sides closed", () => {
    const at = (time: number, line: string) => packetFrom(line, { time });
    const answered = (fabric: Fabric, time: number) =>
      fabric.push(at(time, "tcp 8.8.8.8:80 > 10.1.0.10:1 A")).verdict === "accept";
    const opened = () => {
      const fabric = new Fabric([program]);
      fabric.push(at(0, "tcp 10.1.0.10:1 > 8.8.8.8:80 S"));
      return fabric;
    };
    expect([answered(opened(), 59), answered(opened(), 60)]).toEqual([true, false]);
    const established = () => {
      const fabric = opened();
      fabric.push(at(1, "tcp 8.8.8.8:80 > 10.1.0.10:1 SA"));
      fabric.push(at(1, "tcp 10.1.0.10:1 > 8.8.8.8:80 A"));
      return fabric;
    };
    expect([answered(established(), 8000), answered(established(), 8001)]).toEqual([true, false]);
    const closed = () => {
      const fabric = established();
      fabric.push(at(2, "tcp 10.1.0.10:1 > 8.8.8.8:80 FA"));
      fabric.push(at(2, "tcp 8.8.8.8:80 > 10.1.0.10:1 FA"));
      return fabric;
    };
    expect([answered(closed(), 11), answered(closed(), 12)]).toEqual([true, false]);
    const reopened = closed();
    reopened.push(at(3, "tcp 10.1.0.10:1 > 8.8.8.8:80 S"));
    expect(answered(reopened, 50)).toBe(true);
  });

  // Seconds beyond 2^31 are of 2038 and later, as a pcap file can have them to 2106 and a packet line without end.
  it("live as long at any time, and are gone however far it leaps", () => {
    for (const start of [0, 1_764_000_000, 2 ** 31 - 30, 3e9, 2 ** 32 - 30, 5e9, 1e15]) {
      const answeredAfter = (seconds: number) => {
        const fabric = new Fabric([program]);
        fabric.push(packetFrom(out, { time: start }));
        return fabric.push(packetFrom(back, { time: start + seconds })).verdict === "accept";
      };
      const leaps = [59, 60, 1e6, 2 ** 30, 2 ** 31 - 60, 2 ** 31 + 100, 2 ** 32 - 100, 2 ** 32 + 30, 2 ** 40];
      expect(leaps.map(answeredAfter), `from ${start}`).toEqual(leaps.map((seconds) => seconds === 59));
    }
  });

  it("a RST before both SYNs ends a flow, after them it closes its side only", () => {
    const early = new Fabric([program]);
    early.push(packetFrom("tcp 10.1.0.10:1 > 8.8.8.8:80 S"));
    early.push(packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1 RA"));
    expect(early.push(packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1 A", { time: 10 })).verdict).toBe("drop");
    const late = new Fabric([program]);
    late.push(packetFrom("tcp 10.1.0.10:1 > 8.8.8.8:80 S"));
    late.push(packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1 SA"));
    late.push(packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1 RA"));
    expect(late.push(packetFrom("tcp 8.8.8.8:80 > 10.1.0.10:1 A", { time: 10 })).verdict).toBe("accept");
  });

  it("a ping is answered by its identifier, an ICMP error is related by its addresses", () => {
    const fabric = new Fabric([program]);
    const reply = (icmpId: number) => packetFrom("icmp 8.8.8.8 > 10.1.0.10 0/0", { icmpId });
    fabric.push(packetFrom("icmp 10.1.0.10 > 8.8.8.8 8/0", { icmpId: 7 }));
    expect([reply(7), reply(8)].map((packet) => fabric.push(packet).verdict)).toEqual(["accept", "drop"]);
    expect(fabric.push(packetFrom("icmp 8.8.8.8 > 10.1.0.10 3/1"))).toMatchObject({
      verdict: "accept",
      ctState: "related",
    });
    expect(fabric.push(packetFrom("icmp 9.9.9.9 > 10.1.0.10 3/1"))).toMatchObject({ verdict: "drop", ctState: "new" });
  });

  it("a protocol that cannot be tracked is dropped, open or not", () => {
    const fabric = new Fabric([identityProgram({ zero: OPEN, one: OPEN })]);
    expect(fabric.push(packetFrom("gre 10.1.0.10 > 8.8.8.8"))).toMatchObject({
      verdict: "drop",
      reason: "invalid",
      ctState: "invalid",
      decidedBy: undefined,
    });
  });
});

describe("the tuple plan", () => {
  const accept = encodeTupleValue("accept");
  const exact = (peer: string, protocol: number, port: number): MapEntry => ({
    key: encodeTupleKey({ peer: cidr(peer), protocol, port }),
    value: accept,
  });
  const block = (peer: string, protocol: number, port: number, meaning: "accept" | "hole" = "accept"): MapEntry => ({
    key: encodeBlockKey({ peer: cidr(peer), protocol, port }),
    value: encodeTupleValue(meaning),
  });

  /** Each once, and then once more as another connection, which is answered from memory. */
  function ask(exacts: readonly MapEntry[], blocks: readonly MapEntry[], lines: readonly string[]) {
    const program: MapProgram = {
      kind: "maps",
      strategy: "test",
      node: "node-a",
      attachment: ROUTED,
      maps: [mapOf("exact", "hash", TUPLE_KEY_BYTES, exacts), mapOf("blocks", "lpm-trie", BLOCK_KEY_BYTES, blocks)],
      attachPoints: [
        { endpoint: "default/zero", direction: "ingress", plan: { kind: "tuple", exact: "exact", blocks: "blocks" } },
      ],
    };
    const fabric = new Fabric([program]);
    const results = lines.map((line) => fabric.push(packetFrom(line)));
    const again = lines.map((line) => fabric.push(packetFrom(line.replace(":1 > ", ":2 > "))));
    expect(again).toEqual(results);
    return results;
  }

  it("asks the exact map for the port, any port, any protocol, then the blocks likewise", () => {
    const results = ask(
      [exact("10.1.0.11/32", 6, 80), exact("10.1.0.12/32", 6, 0), exact("10.1.0.13/32", 0, 0)],
      [block("172.16.0.0/12", 17, 53), block("10.2.0.0/16", 0, 0)],
      [
        "tcp 10.1.0.11:1 > 10.1.0.10:80 S",
        "tcp 10.1.0.11:1 > 10.1.0.10:81 S",
        "tcp 10.1.0.12:1 > 10.1.0.10:81 S",
        "udp 10.1.0.13:1 > 10.1.0.10:81",
        "udp 172.16.1.1:1 > 10.1.0.10:53",
        "udp 172.16.1.1:1 > 10.1.0.10:54",
        "sctp 10.2.3.4:1 > 10.1.0.10:9",
      ],
    );
    expect(results.map(({ verdict, work }) => [verdict, work.mapLookups, work.trieLookups])).toEqual([
      ["accept", 1, 0],
      ["drop", 3, 3],
      ["accept", 2, 0],
      ["accept", 3, 0],
      ["accept", 3, 1],
      ["drop", 3, 3],
      ["accept", 3, 3],
    ]);
    expect(results[1]?.decidedBy).toMatchObject({ map: "blocks", key: "" });
  });

  it("a hole in a block accepts nothing, and hides nothing that another scope accepts", () => {
    const blocks = [block("10.0.0.0/8", 6, 80), block("10.9.0.0/16", 6, 80, "hole"), block("10.9.9.0/24", 6, 0)];
    const lines = ["10.8.0.1", "10.9.0.1", "10.9.9.1"].map((source) => `tcp ${source}:1 > 10.1.0.10:80 S`);
    expect(ask([], blocks, lines).map(({ verdict }) => verdict)).toEqual(["accept", "drop", "accept"]);
  });

  it("keeps the families apart", () => {
    const ends = ["[a01:b::]:1 > [fd00:1::10]", "10.1.0.11:1 > 10.1.0.10", "[a01:b::1]:1 > [fd00:1::10]"];
    const entries = [exact("10.1.0.11/32", 17, 53), exact("a01:b::1/128", 17, 53)];
    const results = ask(
      entries,
      [],
      ends.map((line) => `udp ${line}:53`),
    );
    expect(results.map(({ verdict }) => verdict)).toEqual(["drop", "accept", "accept"]);
  });
});
