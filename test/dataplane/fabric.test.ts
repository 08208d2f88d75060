import { describe, expect, it } from "vitest";
import { createFabricResults, Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch } from "../../dataplane/packet.ts";
import type { Attachment } from "../../dataplane/program.ts";
import { VERDICTS } from "../../dataplane/verdict.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { hopsOf, nodeProgram, packetFrom, told } from "./nodeUnderTest.ts";

/** Two nodes with two pods each; `bridge` and the port of the others' pods as the solution has them. */
function attachments(more: Pick<Attachment, "bridge" | "remotePodsPort"> = {}): readonly [Attachment, Attachment] {
  const pods = (node: number) =>
    [10, 11].map((host, index) => ({
      endpoint: `default/pod-${node}-${index}`,
      addresses: [`10.1.${node}.${host}`, `fd00:${node}::${host}`].map(address),
      interface: `pod${index}`,
    }));
  const local = (node: number) => [`192.168.0.${node}`, `fd00:192::${node}`].map(address);
  const addressesOf = (node: number) => pods(node).flatMap(({ addresses }) => addresses);
  return [
    { uplink: "eth0", pods: pods(1), localAddresses: local(1), remotePodAddresses: addressesOf(2), ...more },
    { uplink: "eth0", pods: pods(2), localAddresses: local(2), remotePodAddresses: addressesOf(1), ...more },
  ];
}

const RULES = `*mangle
  :PREROUTING ACCEPT [0:0]
  :INPUT ACCEPT [0:0]
  :FORWARD ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  :POSTROUTING ACCEPT [0:0]
  -A INPUT -i eth0 -m comment --comment "in=eth0"
  -A INPUT -i pod0 -m comment --comment "in=pod0"
  -A INPUT -i br -m comment --comment "in=br"
  -A INPUT -m physdev --physdev-in pod0 -m comment --comment "physin=pod0"
  -A FORWARD -i eth0 -m comment --comment "in=eth0"
  -A FORWARD -i pod0 -m comment --comment "in=pod0"
  -A FORWARD -i br -m comment --comment "in=br"
  -A FORWARD -o eth0 -m comment --comment "out=eth0"
  -A FORWARD -o pod0 -m comment --comment "out=pod0"
  -A FORWARD -o pod1 -m comment --comment "out=pod1"
  -A FORWARD -o br -m comment --comment "out=br"
  -A FORWARD -m physdev --physdev-in pod0 -m comment --comment "physin=pod0"
  -A FORWARD -m physdev --physdev-in remote -m comment --comment "physin=remote"
  -A FORWARD -m physdev --physdev-out pod0 --physdev-is-bridged -m comment --comment "physout=pod0"
  -A FORWARD -m physdev --physdev-out pod1 --physdev-is-bridged -m comment --comment "physout=pod1"
  -A FORWARD -m physdev --physdev-out remote --physdev-is-bridged -m comment --comment "physout=remote"
  -A FORWARD -m physdev --physdev-is-bridged -m comment --comment "bridged"
  -A OUTPUT -o eth0 -m comment --comment "out=eth0"
  -A OUTPUT -o pod0 -m comment --comment "out=pod0"
  -A OUTPUT -o br -m comment --comment "out=br"`;

/** Where a packet went: per node the chains with what they saw of its devices. */
function way(more: Parameters<typeof attachments>[0], packet: string): string[] {
  const programs = attachments(more).map((attachment, index) =>
    nodeProgram({ node: `node-${index + 1}`, family: packet.includes("[") ? 6 : 4, rules: RULES, attachment }),
  );
  const texts = new Map<string, string>();
  for (const table of programs.flatMap(({ families }) => families.flatMap(({ tables }) => tables))) {
    for (const chain of table.chains) {
      for (const [index, { matches }] of chain.rules.entries()) {
        const comment = matches.find((match) => match.kind === "comment");
        texts.set(`${chain.name} ${index + 1}`, comment?.kind === "comment" ? comment.text : "");
      }
    }
  }
  const fabric = new Fabric(programs, { walk: true });
  return fabric.push(packetFrom(packet)).hops.map(({ node, walk = [] }) => {
    const chains = [...new Set(walk.map(([, chain]) => chain))].join("+");
    return [node, chains, ...walk.map(([, chain, number]) => texts.get(`${chain} ${number}`) ?? "")].join(" ");
  });
}

describe("pods with interfaces of their own", () => {
  it.each([
    ["on one node pass it once", "udp 10.1.1.10:1 > 10.1.1.11:53", ["node-1 FORWARD in=pod0 out=pod1"]],
    [
      "on two nodes pass both, by their uplinks",
      "udp 10.1.1.10:1 > 10.1.2.11:53",
      ["node-1 FORWARD in=pod0 out=eth0", "node-2 FORWARD in=eth0 out=pod1"],
    ],
    ["reach the outside from the edge", "udp 10.1.1.10:1 > 8.8.8.8:53", ["node-1 FORWARD in=pod0 out=eth0"]],
    ["are reached from outside", "udp 8.8.8.8:1 > 10.1.2.10:53", ["node-2 FORWARD in=eth0 out=pod0"]],
    ["reach their own node", "udp 10.1.1.10:1 > 192.168.0.1:53", ["node-1 INPUT in=pod0"]],
    ["are reached by their own node", "udp 192.168.0.1:1 > 10.1.1.10:53", ["node-1 OUTPUT out=pod0"]],
    [
      "reach another node",
      "udp 10.1.1.10:1 > 192.168.0.2:53",
      ["node-1 FORWARD in=pod0 out=eth0", "node-2 INPUT in=eth0"],
    ],
    [
      "are reached by another node",
      "udp 192.168.0.1:1 > 10.1.2.10:53",
      ["node-1 OUTPUT out=eth0", "node-2 FORWARD in=eth0 out=pod0"],
    ],
    [
      "do all this with IPv6 too",
      "udp [fd00:1::10]:1 > [fd00:2::11]:53",
      ["node-1 FORWARD in=pod0 out=eth0", "node-2 FORWARD in=eth0 out=pod1"],
    ],
  ])("%s", (_name, packet, expected) => {
    expect(way({}, packet)).toEqual(expected);
  });
});

describe("pods on a bridge", () => {
  const bridge = { bridge: "br" };

  it.each([
    [
      "on one node are bridged",
      "udp 10.1.1.10:1 > 10.1.1.11:53",
      ["node-1 FORWARD in=br out=br physin=pod0 physout=pod1 bridged"],
    ],
    [
      "on two nodes are routed; the port they came in by stays known",
      "udp 10.1.1.10:1 > 10.1.2.11:53",
      ["node-1 FORWARD in=br out=eth0 physin=pod0", "node-2 FORWARD in=eth0 out=br"],
    ],
    ["reach their own node by the bridge", "udp 10.1.1.10:1 > 192.168.0.1:53", ["node-1 INPUT in=br physin=pod0"]],
    ["are reached by their own node", "udp 192.168.0.1:1 > 10.1.1.10:53", ["node-1 OUTPUT out=br"]],
  ])("%s", (_name, packet, expected) => {
    expect(way(bridge, packet)).toEqual(expected);
  });
});

describe("pods on a bridge that spans the nodes", () => {
  const bridge = { bridge: "br", remotePodsPort: "remote" };

  it.each([
    [
      "on two nodes are bridged on both",
      "udp 10.1.1.10:1 > 10.1.2.11:53",
      [
        "node-1 FORWARD in=br out=br physin=pod0 physout=remote bridged",
        "node-2 FORWARD in=br out=br physin=remote physout=pod1 bridged",
      ],
    ],
    ["reach the outside by the uplink", "udp 10.1.1.10:1 > 8.8.8.8:53", ["node-1 FORWARD in=br out=eth0 physin=pod0"]],
    ["are reached from outside", "udp 8.8.8.8:1 > 10.1.2.10:53", ["node-2 FORWARD in=eth0 out=br"]],
  ])("%s", (_name, packet, expected) => {
    expect(way(bridge, packet)).toEqual(expected);
  });
});

describe("packets that nobody sees", () => {
  const fabric = new Fabric(
    attachments().map((attachment, index) =>
      nodeProgram({
        node: `node-${index + 1}`,
        rules: "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]",
        attachment,
      }),
    ),
  );

  it.each([
    ["a pod to its own address", "udp 10.1.1.10:1 > 10.1.1.10:53"],
    ["a node to itself", "udp 192.168.0.1:1 > 127.0.0.1:53"],
    ["outside to outside", "udp 8.8.8.8:1 > 9.9.9.9:53"],
  ])("%s is accepted without a hop", (_name, packet) => {
    expect(fabric.push(packetFrom(packet))).toMatchObject({ verdict: "accept", hops: [], decidedBy: undefined });
  });

  it("but a pod to its neighbour is seen", () => {
    expect(told(fabric.push(packetFrom("udp 10.1.1.10:1 > 10.1.1.11:53")))).toBe("drop by FORWARD 1");
  });
});

describe("two nodes", () => {
  const open = "*filter\n:FORWARD ACCEPT [0:0]";
  const closed = `*filter
    :FORWARD ACCEPT [0:0]
    -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A FORWARD -d 10.1.2.0/24 -p udp -m udp --dport 54 -j ACCEPT
    -A FORWARD -d 10.1.2.0/24 -j DROP`;
  const [first, second] = attachments();
  const build = (rules: readonly [string, string]) =>
    [first, second].map((attachment, index) =>
      nodeProgram({ node: `node-${index + 1}`, rules: rules[index] ?? "", attachment }),
    );

  it("the second is asked only when the first accepts", () => {
    const fabric = new Fabric(build([closed, open]));
    const result = fabric.push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:53"));
    expect(hopsOf(result)).toBe("node-1 drop");
    expect(hopsOf(new Fabric(build([open, closed])).push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:53")))).toBe(
      "node-1 accept, node-2 drop",
    );
  });

  it("each tracks connections for itself: what the second dropped, the first has let through", () => {
    const fabric = new Fabric(build([closed, closed]));
    expect(hopsOf(fabric.push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:54")))).toBe("node-1 accept, node-2 accept");
    const answer = fabric.push(packetFrom("udp 10.1.2.10:54 > 10.1.1.10:1"));
    expect(answer.hops.map(({ ctState }) => ctState)).toEqual(["established", "established"]);

    const halfOpen = new Fabric(build([open, closed]));
    expect(hopsOf(halfOpen.push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:53")))).toBe("node-1 accept, node-2 drop");
    const late = halfOpen.push(packetFrom("udp 10.1.2.10:53 > 10.1.1.10:1"));
    expect(late.hops.map(({ node, ctState }) => [node, ctState])).toEqual([
      ["node-2", "new"],
      ["node-1", "established"],
    ]);
  });

  it("the work of both is summed, the state is that of the last", () => {
    const result = new Fabric(build([open, closed])).push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:54"));
    expect(result.work).toMatchObject({ rules: 2, conntrackLookups: 2 });
    expect(result.decidedBy).toMatchObject({ node: "node-2", chain: "FORWARD", rule: 2 });
  });

  it("a changed cluster keeps the connections of the nodes that stay", () => {
    const fabric = new Fabric(build([closed, closed]));
    fabric.push(packetFrom("udp 10.1.1.10:1 > 10.1.2.10:54"));
    fabric.load(build([closed, closed.replace("54", "55")]));
    expect(fabric.push(packetFrom("udp 10.1.2.10:54 > 10.1.1.10:1")).ctState).toBe("established");
    fabric.load(build([closed, closed]).slice(0, 1));
    fabric.load(build([closed, closed]));
    const hops = fabric.push(packetFrom("udp 10.1.2.10:54 > 10.1.1.10:1")).hops;
    expect(hops.map(({ ctState }) => ctState)).toEqual(["new", "established"]); // node-2 came back empty
  });

  it("cannot have two programs", () => {
    const [program] = build([open, open]);
    if (program === undefined) throw new Error("no program");
    expect(() => new Fabric([program, program])).toThrow("node-1");
  });
});

describe("one node alone", () => {
  const [attachment] = attachments();
  const program = nodeProgram({ node: "node-1", rules: RULES, attachment });
  const fabric = new Fabric([program], { only: "node-1", walk: true });

  it("sees every packet, wherever it comes from", () => {
    const seen = (packet: string) =>
      fabric.push(packetFrom(packet)).hops.map(({ walk = [] }) => walk.map(([, chain]) => chain));
    expect(seen("udp 8.8.8.8:1 > 9.9.9.9:53")).toEqual([["FORWARD", "FORWARD"]]);
    expect(seen("udp 10.1.2.10:1 > 10.1.1.10:53")).toEqual([["FORWARD", "FORWARD"]]);
    expect(seen("udp 10.1.2.10:1 > 192.168.0.1:53")).toEqual([["INPUT"]]);
    expect(seen("udp 10.1.1.10:1 > 10.1.1.10:53")).toEqual([]);
  });

  it("must be among the programs", () => {
    expect(() => new Fabric([program], { only: "node-9" })).toThrow("node-9");
  });
});

describe("a batch", () => {
  it("gives each packet what it gets alone, connections included", () => {
    const programs = attachments().map((attachment, index) =>
      nodeProgram({
        node: `node-${index + 1}`,
        attachment,
        rules: `*filter
          :FORWARD DROP [0:0]
          -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
          -A FORWARD -d 10.1.2.10/32 -p udp -j ACCEPT
          -A FORWARD -s 10.1.1.10/32 -j REJECT --reject-with icmp-port-unreachable`,
      }),
    );
    const packets = [
      "udp 10.1.1.11:1 > 10.1.2.10:53",
      "udp 10.1.2.10:53 > 10.1.1.11:1",
      "udp 10.1.1.10:1 > 10.1.2.11:53",
      "udp 10.1.1.11:1 > 10.1.1.11:53",
      "udp 8.8.8.8:53 > 10.1.2.10:1",
      "udp 10.1.2.10:1 > 8.8.8.8:53",
      "tcp 192.168.0.1:1 > 10.1.2.10:53 S",
    ].map((line) => packetFrom(line));
    const alone = new Fabric(programs);
    const expected = packets.map((packet) => alone.push(packet));
    const together = new Fabric(programs);
    const batch = createBatch(16);
    const results = createFabricResults(16);
    for (const packet of packets) appendPacket(batch, packet);
    together.pushBatch(batch, results);
    expect(packets.map((_, row) => together.result(results, row))).toEqual(expected);
    expect(Array.from(results.verdict.subarray(0, 7), (code) => VERDICTS[code])).toEqual([
      "accept",
      "accept",
      "reject",
      "accept",
      "accept",
      "accept",
      "drop",
    ]);
  });
});
