import { describe, expect, it } from "vitest";
import { hostCidr, type IpAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NodeUnderTest, nodeProgram, packetFrom } from "./nodeUnderTest.ts";

/** Whether a packet is in set S, asked with the given sides. */
function inSet(sets: string, sides: string, packet: Packet | string): boolean {
  const family = typeof packet === "string" ? (packet.includes("[") ? 6 : 4) : packet.source.family;
  const node = new NodeUnderTest({
    sets,
    family,
    rules: `*filter
      :FORWARD ACCEPT [0:0]
      -A FORWARD -m set --match-set S ${sides} -j DROP`,
  });
  return node.push(packet).verdict === "drop";
}

const UDP = "udp 10.1.0.10:4000 > 172.16.5.9:53";

describe("hash:ip", () => {
  const set = `create S hash:ip family inet hashsize 1024 maxelem 65536
    add S 10.1.0.10
    add S 172.16.0.0/30`;

  it("holds its addresses, on the side that is asked", () => {
    expect(inSet(set, "src", UDP)).toBe(true);
    expect(inSet(set, "dst", UDP)).toBe(false);
    expect(inSet(set, "src", "udp 10.1.0.11:4000 > 8.8.8.8:53")).toBe(false);
  });

  it("holds every address of a block that was added", () => {
    expect(inSet(set, "dst", "udp 10.1.0.10:4000 > 172.16.0.3:53")).toBe(true);
    expect(inSet(set, "dst", "udp 10.1.0.10:4000 > 172.16.0.4:53")).toBe(false);
  });

  it("reads the first of two sides", () => {
    expect(inSet(set, "src,dst", UDP)).toBe(true);
    expect(inSet(set, "dst,src", UDP)).toBe(false);
  });

  it("finds each of ten thousand addresses and nothing beside them", () => {
    const lines = ["create S hash:ip family inet hashsize 1024 maxelem 65536"];
    for (let index = 0; index < 10_000; index++) lines.push(`add S 10.7.${index >> 7}.${(index & 127) * 2}`);
    const node = new NodeUnderTest({
      sets: lines.join("\n"),
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S src -j DROP",
    });
    const held: number[] = [];
    const packet = packetFrom(UDP);
    for (let index = 0; index < 20_000; index++) {
      const source: IpAddress = { family: 4, words: [((10 << 24) | (7 << 16)) + index] };
      if (node.push({ ...packet, source }).verdict === "drop") held.push(index);
    }
    expect(held).toEqual(Array.from({ length: 10_000 }, (_, index) => 2 * index));
  });

  it("of IPv6 finds each of two thousand addresses and nothing beside them", () => {
    const lines = ["create S hash:ip family inet6 hashsize 1024 maxelem 65536"];
    for (let index = 0; index < 2_000; index++)
      lines.push(`add S 2001:db8:${(index % 7).toString(16)}::${(index * 2).toString(16)}`);
    const node = new NodeUnderTest({
      family: 6,
      sets: lines.join("\n"),
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S src -j DROP",
    });
    for (let index = 0; index < 4_000; index++) {
      const source = `2001:db8:${((index >> 1) % 7).toString(16)}::${index.toString(16)}`;
      expect(node.push(`udp [${source}]:1 > [fd00:1::10]:53`).verdict).toBe(index % 2 === 0 ? "drop" : "accept");
    }
  });

  it("of IPv6 holds addresses of four words", () => {
    const six = `create S hash:ip family inet6 hashsize 1024 maxelem 65536
      add S fd00:1::10
      add S 2001:db8::8000:1`;
    expect(inSet(six, "src", "udp [fd00:1::10]:1 > [2001:db8::8000:1]:53")).toBe(true);
    expect(inSet(six, "dst", "udp [fd00:1::10]:1 > [2001:db8::8000:1]:53")).toBe(true);
    expect(inSet(six, "dst", "udp [fd00:1::10]:1 > [2001:db8:1::8000:1]:53")).toBe(false);
  });
});

describe("hash:net", () => {
  const set = `create S hash:net family inet hashsize 1024 maxelem 65536
    add S 10.0.0.0/8
    add S 10.1.0.0/16 nomatch
    add S 10.1.2.0/24
    add S 10.1.2.128/25 nomatch
    add S 192.168.5.10`;

  it.each([
    ["10.9.9.9", true, "in the widest block"],
    ["10.1.9.9", false, "in the exception inside it"],
    ["10.1.2.3", true, "in the block inside the exception"],
    ["10.1.2.200", false, "in the exception inside that"],
    ["192.168.5.10", true, "a single address"],
    ["192.168.5.11", false, "beside it"],
    ["11.0.0.1", false, "in nothing"],
  ])("%s is decided by the most specific entry: %s, %s", (source, expected) => {
    expect(inSet(set, "src", `udp ${source}:1 > 8.8.8.8:53`)).toBe(expected);
  });

  it("takes the last word on one block, with or without nomatch", () => {
    const create = "create S hash:net family inet hashsize 1024 maxelem 65536";
    expect(inSet(`${create}\nadd S 10.0.0.0/8 nomatch`, "src", UDP)).toBe(false);
    const program = nodeProgram({
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S src -j DROP",
      sets: create,
    });
    const net = { kind: "net", cidr: { family: 4, words: [0x0a00_0000], prefixLength: 8 } } as const;
    const twice = [{ ...net, nomatch: true }, net];
    for (const [members, verdict] of [
      [twice, "drop"],
      [twice.toReversed(), "accept"],
    ] as const) {
      const sets = program.sets.map((each) => ({ ...each, members }));
      expect(new Fabric([{ ...program, sets }]).push(packetFrom(UDP)).verdict).toBe(verdict);
    }
  });

  it("of IPv6 decides by prefix lengths across word borders", () => {
    const six = `create S hash:net family inet6 hashsize 1024 maxelem 65536
      add S fd00::/8
      add S fd00:1::/33 nomatch
      add S fd00:1:0:0:8000::/65
      add S fd00:1:0:0:8000::7`;
    const from = (source: string) => inSet(six, "src", `udp [${source}]:1 > [2001:db8::1]:53`);
    expect(from("fd77::1")).toBe(true);
    expect(from("fd00:1::1")).toBe(false);
    expect(from("fd00:1:8000::1")).toBe(true); // beyond bit 33
    expect(from("fd00:1::8000:0:0:1")).toBe(true);
    expect(from("fd00:1::7fff:0:0:1")).toBe(false);
    expect(from("fe80::1")).toBe(false);
  });
});

describe("hash:ip,port", () => {
  const set = `create S hash:ip,port family inet hashsize 1024 maxelem 65536
    add S 172.16.5.9,udp:53
    add S 172.16.5.9,sctp:9
    add S 172.16.5.9,icmp:8/0
    add S 172.16.5.9,tcp:0`;

  it("compares address, protocol and port", () => {
    expect(inSet(set, "dst,dst", UDP)).toBe(true);
    expect(inSet(set, "dst,dst", "tcp 10.1.0.10:4000 > 172.16.5.9:53 S")).toBe(false);
    expect(inSet(set, "dst,dst", "udp 10.1.0.10:4000 > 172.16.5.9:54")).toBe(false);
    expect(inSet(set, "dst,dst", "sctp 10.1.0.10:4000 > 172.16.5.9:9")).toBe(true);
  });

  it("reads each dimension from its own side", () => {
    expect(inSet(set, "dst,src", "udp 10.1.0.10:53 > 172.16.5.9:4000")).toBe(true);
    expect(inSet(set, "src,dst", "udp 172.16.5.9:4000 > 10.1.0.10:53")).toBe(true);
    expect(inSet(set, "src,src", "udp 172.16.5.9:4000 > 10.1.0.10:53")).toBe(false);
  });

  it("takes type and code of ICMP as the port", () => {
    expect(inSet(set, "dst,dst", packetFrom("icmp 10.1.0.10 > 172.16.5.9 8/0"))).toBe(true);
    expect(inSet(set, "dst,dst", packetFrom("icmp 10.1.0.10 > 172.16.5.9 8/1"))).toBe(false);
    expect(inSet(set, "dst,dst", packetFrom("icmp 10.1.0.10 > 172.16.5.9 0/0"))).toBe(false);
  });

  it("does not hold later fragments, which have no ports", () => {
    expect(inSet(set, "dst,dst", packetFrom(UDP, { fragment: true }))).toBe(false);
  });

  it("reads port 0 for protocols without ports, fragments included", () => {
    const program = nodeProgram({
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S dst,dst -j DROP",
      sets: set,
    });
    const sets = program.sets.map((each) => ({
      ...each,
      members: [
        {
          kind: "netPort",
          protocol: 47,
          port: 0,
          cidr: hostCidr(address("172.16.5.9")),
        } as const,
      ],
    }));
    const fabric = new Fabric([{ ...program, sets }]);
    expect(fabric.push(packetFrom("gre 10.1.0.10 > 172.16.5.9")).verdict).toBe("drop");
    expect(fabric.push(packetFrom("gre 10.1.0.10 > 172.16.5.9", { fragment: true })).verdict).toBe("drop");
    expect(fabric.push(packetFrom("gre 10.1.0.10 > 172.16.5.8")).verdict).toBe("accept");
  });

  it("holds nothing when the rule names one side only", () => {
    const program = nodeProgram({
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S dst,dst -j DROP",
      sets: set,
    });
    const [family] = program.families;
    const match = { kind: "set", set: "S", sides: ["destination"], negate: false } as const;
    const chains = [
      { name: "FORWARD", policy: "accept", rules: [{ matches: [match], target: { kind: "drop" } }] },
    ] as const;
    const families = family === undefined ? [] : [{ ...family, tables: [{ name: "filter", chains }] as const }];
    expect(new Fabric([{ ...program, families }]).push(packetFrom(UDP)).verdict).toBe("accept");
  });
});

describe("hash:net,port", () => {
  const set = `create S hash:net,port family inet hashsize 1024 maxelem 65536
    add S 172.16.0.0/12,tcp:80
    add S 172.16.5.0/24,tcp:80 nomatch
    add S 172.16.5.0/24,tcp:81`;

  it("lets the most specific entry for the same protocol and port decide", () => {
    expect(inSet(set, "dst,dst", "tcp 10.1.0.10:4000 > 172.16.9.9:80 S")).toBe(true);
    expect(inSet(set, "dst,dst", "tcp 10.1.0.10:4000 > 172.16.5.9:80 S")).toBe(false);
    expect(inSet(set, "dst,dst", "tcp 10.1.0.10:4000 > 172.16.5.9:81 S")).toBe(true);
    expect(inSet(set, "dst,dst", "udp 10.1.0.10:4000 > 172.16.9.9:80")).toBe(false);
  });
});

describe("list:set", () => {
  const sets = `create ports hash:ip,port family inet hashsize 1024 maxelem 65536
    add ports 172.16.5.9,tcp:80
    create holes hash:net family inet hashsize 1024 maxelem 65536
    add holes 10.0.0.0/8
    add holes 10.1.0.0/16 nomatch
    create wide hash:net family inet hashsize 1024 maxelem 65536
    add wide 10.1.0.0/24
    create S list:set size 8
    add S ports
    add S holes
    add S wide`;

  it("holds what one of its sets holds, tested with the same sides", () => {
    expect(inSet(sets, "src", "udp 10.9.0.1:4 > 8.8.8.8:53")).toBe(true);
    expect(inSet(sets, "dst", "udp 10.9.0.1:4 > 8.8.8.8:53")).toBe(false);
  });

  it("goes on to the next set after an exception in one", () => {
    expect(inSet(sets, "src", "udp 10.1.0.10:4 > 8.8.8.8:53")).toBe(true);
    expect(inSet(sets, "src", "udp 10.1.7.10:4 > 8.8.8.8:53")).toBe(false);
  });

  it("tests sets with fewer dimensions by the first side, and those with more not at all", () => {
    expect(inSet(sets, "dst,dst", "tcp 8.8.8.8:4 > 172.16.5.9:80 S")).toBe(true);
    expect(inSet(sets, "src,dst", "tcp 10.9.0.1:4 > 8.8.8.8:80 S")).toBe(true);
    expect(inSet(sets, "dst", "tcp 8.8.8.8:4 > 172.16.5.9:80 S")).toBe(false);
  });

  it("counts the sets it had to ask", () => {
    const rules = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S src -j DROP";
    const node = new NodeUnderTest({ sets, rules });
    expect(node.push("udp 10.9.0.1:4 > 10.1.0.10:53").work.setLookups).toBe(2);
    expect(node.push("udp 8.8.8.8:4 > 10.1.0.10:53").work.setLookups).toBe(3);
  });

  it("cannot name a set that is not there, or another list", () => {
    const program = nodeProgram({ rules: "*filter\n:FORWARD ACCEPT [0:0]", sets });
    const add = (set: string) =>
      program.sets.map((each) => (each.name === "S" ? { ...each, members: [{ kind: "set", set } as const] } : each));
    expect(() => new Fabric([{ ...program, sets: add("gone") }])).toThrow("gone");
    expect(() => new Fabric([{ ...program, sets: add("S") }])).toThrow("S");
  });
});

describe("a set of the other family", () => {
  it("holds nothing, so that only its negation matches", () => {
    const program = nodeProgram({
      sets: "create S hash:net family inet hashsize 1024 maxelem 65536\nadd S 0.0.0.0/1\nadd S 128.0.0.0/1",
      rules:
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set S src -j DROP\n-A FORWARD -m set ! --match-set S src -j REJECT --reject-with icmp-port-unreachable",
    });
    const families = program.families.map((each) => ({ ...each, family: 6 as const }));
    const fabric = new Fabric([{ ...program, families }]);
    const result = fabric.push(packetFrom("udp [fd00:1::10]:1 > [2001:db8::1]:53"));
    expect(result.verdict).toBe("reject");
    expect(result.work.setLookups).toBe(2);
  });
});
