import { describe, expect, it } from "vitest";
import { Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet } from "../../dataplane/packet.ts";
import type { Match, TableProgram } from "../../dataplane/program.ts";
import { createResults } from "../../dataplane/result.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { type NodeTexts, NodeUnderTest, nodeProgram, packetFrom, ROUTED } from "./nodeUnderTest.ts";

/** Whether `-A FORWARD <options> -j DROP` catches each packet. */
function caught(options: string, packets: readonly (Packet | string)[], more: Partial<NodeTexts> = {}): boolean[] {
  const rules = `*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD ${options} -j DROP`;
  const node = new NodeUnderTest({ rules, ...more });
  return packets.map((packet) => {
    node.fabric.flushConntrack();
    return node.push(packet).verdict === "drop";
  });
}

const TCP = "tcp 10.1.0.10:40000 > 10.1.0.11:80 S";
const UDP = "udp 10.1.0.10:40000 > 10.1.0.11:53";

describe("addresses and protocols", () => {
  it("a prefix holds the addresses inside it, above 128.0.0.0 too", () => {
    const packets = [
      "udp 200.1.2.3:1 > 10.1.0.10:53",
      "udp 200.1.3.3:1 > 10.1.0.10:53",
      "udp 72.1.2.3:1 > 10.1.0.10:53",
    ];
    expect(caught("-s 200.1.2.0/24", packets)).toEqual([true, false, false]);
    expect(caught("! -s 200.1.2.0/24", packets)).toEqual([false, true, true]);
    expect(caught("-s 0.0.0.0/0", packets)).toEqual([true, true, true]);
  });

  it("source and destination are told apart", () => {
    expect(caught("-s 10.1.0.10/32 -d 10.1.0.11/32", [TCP, "tcp 10.1.0.11:40000 > 10.1.0.10:80 S"])).toEqual([
      true,
      false,
    ]);
  });

  it("IPv6 prefixes end anywhere in the address", () => {
    const packets = ["udp [fd00:1::10]:1 > [fd00:1::11]:53", "udp [fd00:2::10]:1 > [fd00:1::11]:53"];
    for (const prefix of ["fd00:1::/32", "fd00:1::/64", "fd00:1::10/128", "fd00:1::/97"]) {
      expect(caught(`-s ${prefix}`, packets, { family: 6 })).toEqual([true, false]);
      expect(caught(`! -s ${prefix}`, packets, { family: 6 })).toEqual([false, true]);
    }
    expect(caught("-s fd00::/15", packets, { family: 6 })).toEqual([true, true]);
  });

  it("protocols are named or numbered, and negated", () => {
    expect(caught("-p udp", [TCP, UDP])).toEqual([false, true]);
    expect(caught("! -p udp", [TCP, UDP])).toEqual([true, false]);
    expect(caught("-p 47", ["gre 10.1.0.10 > 10.1.0.11", UDP])).toEqual([true, false]);
  });

  it("the two families have rules of their own", () => {
    const node = new NodeUnderTest({ family: 6, rules: "*filter\n:FORWARD DROP [0:0]" });
    expect(node.says(TCP)).toBe("accept");
    expect(node.says("udp [fd00:1::10]:1 > [fd00:1::11]:53")).toBe("drop by FORWARD 1");
  });
});

describe("ports", () => {
  it("a port, a range and their negations", () => {
    const ports = [79, 80, 81, 90].map((port) => `tcp 10.1.0.10:40000 > 10.1.0.11:${port} S`);
    expect(caught("-p tcp -m tcp --dport 80", ports)).toEqual([false, true, false, false]);
    expect(caught("-p tcp -m tcp ! --dport 80", ports)).toEqual([true, false, true, true]);
    expect(caught("-p tcp -m tcp --dport 80:81", ports)).toEqual([false, true, true, false]);
    expect(caught("-p tcp -m tcp --sport 40000", ports)).toEqual([true, true, true, true]);
    expect(caught("-p tcp -m tcp --sport 80", ports)).toEqual([false, false, false, false]);
  });

  it("multiport takes single ports and ranges, of one side or either", () => {
    const ports = [79, 80, 81, 90, 100].map((port) => `sctp 10.1.0.10:90 > 10.1.0.11:${port}`);
    expect(caught("-p sctp -m multiport --dports 80,90:99", ports)).toEqual([false, true, false, true, false]);
    expect(caught("-p sctp -m multiport ! --dports 80,90:99", ports)).toEqual([true, false, true, false, true]);
    expect(caught("-p sctp -m multiport --ports 90:99", ports)).toEqual([true, true, true, true, true]);
    expect(caught("-p sctp -m multiport --sports 80", ports)).toEqual([false, false, false, false, false]);
  });

  it("a later fragment has no ports: neither a test nor its negation holds", () => {
    const fragment = packetFrom("udp 10.1.0.10:40000 > 10.1.0.11:53", { fragment: true });
    expect(caught("-p udp -m udp --dport 53", [fragment])).toEqual([false]);
    expect(caught("-p udp -m udp ! --dport 54", [fragment])).toEqual([false]);
    expect(caught("-p udp -m multiport ! --dports 54,55", [fragment])).toEqual([false]);
    expect(caught("-p udp", [fragment])).toEqual([true]);
    expect(caught("-f", [fragment, packetFrom(UDP)])).toEqual([true, false]);
    expect(caught("! -f", [fragment, packetFrom(UDP)])).toEqual([false, true]);
  });
});

describe("TCP flags and ICMP types", () => {
  const flags = ["S", "SA", "A", "FA", "R"].map((letters) => `tcp 10.1.0.10:40000 > 10.1.0.11:80 ${letters}`);

  it("flags are compared under a mask", () => {
    expect(caught("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", flags)).toEqual([true, false, false, false, false]);
    expect(caught("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", flags)).toEqual([false, true, true, true, true]);
    expect(caught("-p tcp -m tcp --tcp-flags ACK ACK", flags)).toEqual([false, true, true, true, false]);
  });

  it("ICMP by type, by type and code, any", () => {
    const messages = ["8/0", "8/1", "0/0"].map((type) => `icmp 10.1.0.10 > 10.1.0.11 ${type}`);
    expect(caught("-p icmp -m icmp --icmp-type 8", messages)).toEqual([true, true, false]);
    expect(caught("-p icmp -m icmp --icmp-type 8/1", messages)).toEqual([false, true, false]);
    expect(caught("-p icmp -m icmp ! --icmp-type 8", messages)).toEqual([false, false, true]);
    expect(caught("-p icmp -m icmp --icmp-type any", [...messages, UDP])).toEqual([true, true, true, false]);
  });

  it("ICMPv6 has a type 255 like any other", () => {
    const messages = ["255/0", "128/0"].map((type) => `icmpv6 [fd00:1::10] > [fd00:1::11] ${type}`);
    expect(caught("-p ipv6-icmp -m icmp6 --icmpv6-type 255", messages, { family: 6 })).toEqual([true, false]);
    expect(caught("-p ipv6-icmp -m icmp6 --icmpv6-type 128", messages, { family: 6 })).toEqual([false, true]);
  });
});

describe("devices", () => {
  const out = "udp 10.1.0.10:1 > 8.8.8.8:53";
  const back = "udp 8.8.8.8:53 > 10.1.0.11:1";

  it("in and out interface, exact and with a wildcard", () => {
    expect(caught("-i cali0", [out, back])).toEqual([true, false]);
    expect(caught("-o cali1", [out, back])).toEqual([false, true]);
    expect(caught("-i cali+", [out, back])).toEqual([true, false]);
    expect(caught("-o cali+", [out, back])).toEqual([false, true]);
    expect(caught("! -o cali+", [out, back])).toEqual([true, false]);
    expect(caught("-i cali", [out, back])).toEqual([false, false]);
    expect(caught("-i + -o +", [out, back])).toEqual([true, true]);
  });

  it("PREROUTING does not know yet where a packet goes, OUTPUT has no device it came by", () => {
    const node = new NodeUnderTest({
      rules: `*mangle
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        :PRE - [0:0]
        :OUT - [0:0]
        -A PREROUTING -j PRE
        -A OUTPUT -j OUT
        -A PRE -i cali0 -j MARK --set-xmark 0x1/0x1
        -A PRE -o eth0 -j DROP
        -A PRE ! -o eth0 -j MARK --set-xmark 0x2/0x2
        -A OUT -i cali0 -j DROP
        -A OUT -o cali0 -j MARK --set-xmark 0x1/0x1`,
    });
    expect(node.walk(out)).toBe("mangle PREROUTING 1, mangle PRE 1, mangle PRE 3");
    expect(node.walk("udp 192.168.0.11:1 > 10.1.0.10:53")).toBe("mangle OUTPUT 1, mangle OUT 2");
  });

  describe("of a bridge", () => {
    const attachment = { ...ROUTED, bridge: "br", remotePodsPort: "vethwe-bridge", remotePodAddresses: [] };
    const local = TCP;

    it("both ports are known for bridged packets only", () => {
      const ask = (options: string) => caught(`-m physdev ${options}`, [local, out, back], { attachment });
      expect(ask("--physdev-is-bridged")).toEqual([true, false, false]);
      expect(ask("! --physdev-is-bridged")).toEqual([false, true, true]);
      expect(ask("--physdev-in cali0")).toEqual([true, true, false]);
      expect(ask("! --physdev-in cali0")).toEqual([false, false, true]);
      expect(ask("--physdev-is-in")).toEqual([true, true, false]);
      expect(ask("--physdev-out cali1 --physdev-is-bridged")).toEqual([true, false, false]);
      expect(ask("--physdev-out cali+ --physdev-is-bridged")).toEqual([true, false, false]);
      expect(ask("--physdev-out cali0 --physdev-is-bridged")).toEqual([false, false, false]);
      expect(ask("--physdev-is-out")).toEqual([true, false, false]);
    });

    it("the interfaces are the bridge's", () => {
      expect(caught("-i br -o br", [local, out, back], { attachment })).toEqual([true, false, false]);
      expect(caught("-i br -o eth0", [local, out, back], { attachment })).toEqual([false, true, false]);
      expect(caught("-i eth0 -o br", [local, out, back], { attachment })).toEqual([false, false, true]);
      expect(caught("-i cali0", [local, out, back], { attachment })).toEqual([false, false, false]);
    });

    it("a bridged packet has no out port in PREROUTING and no in interface in POSTROUTING", () => {
      const node = new NodeUnderTest({
        attachment,
        rules: `*mangle
          :PREROUTING ACCEPT [0:0]
          :POSTROUTING ACCEPT [0:0]
          :P - [0:0]
          -A PREROUTING -m physdev --physdev-is-bridged -j DROP
          -A PREROUTING -m physdev --physdev-in cali0
          -A POSTROUTING -j P
          -A P -i br -j DROP
          -A P -m physdev --physdev-out cali1 --physdev-is-bridged`,
      });
      expect(node.walk(local)).toBe("mangle PREROUTING 2, mangle POSTROUTING 1, mangle P 2");
    });
  });
});

describe("marks", () => {
  it("a mark on arrival is 0; set-xmark clears the mask, then flips the value", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        -A FORWARD -m mark --mark 0x0
        -A FORWARD -j MARK --set-xmark 0xffffffff/0xffffffff
        -A FORWARD -m mark --mark 0xffffffff
        -A FORWARD -j MARK --set-xmark 0x0/0x10000
        -A FORWARD -m mark --mark 0x0/0x10000
        -A FORWARD -m mark ! --mark 0x80000000/0x80000000 -j DROP
        -A FORWARD -j MARK --set-xmark 0x80000000/0x0
        -A FORWARD -m mark --mark 0x7ffeffff`,
    });
    expect(node.walk(TCP)).toBe("FORWARD 1, FORWARD 2, FORWARD 3, FORWARD 4, FORWARD 5, FORWARD 7, FORWARD 8");
  });

  it("the connection keeps its mark for later packets, both ways", () => {
    const node = new NodeUnderTest({
      rules: `*mangle
        :PREROUTING ACCEPT [0:0]
        :FORWARD ACCEPT [0:0]
        -A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff
        -A FORWARD -m mark --mark 0x7/0xff -j DROP
        -A FORWARD -m conntrack --ctstate NEW -j MARK --set-xmark 0x307/0xffffffff
        -A FORWARD -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff
        -A FORWARD -m connmark --mark 0x7`,
    });
    expect(node.walk(UDP)).toBe("mangle PREROUTING 1, mangle FORWARD 2, mangle FORWARD 3, mangle FORWARD 4");
    expect(node.says("udp 10.1.0.11:53 > 10.1.0.10:40000")).toBe("drop by mangle FORWARD 1");
    expect(node.says("udp 10.1.0.11:53 > 10.1.0.10:40001")).toBe("accept by mangle POSTROUTING 1");
  });

  it("without a connection there is no connection mark, not even a different one", () => {
    const rules = `*raw
      :PREROUTING ACCEPT [0:0]
      -A PREROUTING -p udp -j CT --notrack
      *filter
      :FORWARD ACCEPT [0:0]
      -A FORWARD -m connmark --mark 0x0 -j DROP
      -A FORWARD -m connmark ! --mark 0x0 -j DROP`;
    const node = new NodeUnderTest({ rules });
    expect(node.says(UDP)).toBe("accept by FORWARD 3");
    expect(node.says(TCP)).toBe("drop by FORWARD 1");
  });
});

describe("connection states", () => {
  it("are asked one or several, in both spellings, and negated", () => {
    const synAck = "tcp 10.1.0.10:40000 > 10.1.0.11:80 SA";
    expect(caught("-m conntrack --ctstate INVALID", [TCP, synAck])).toEqual([false, true]);
    expect(caught("-m conntrack ! --ctstate INVALID", [TCP, synAck])).toEqual([true, false]);
    expect(caught("-m state --state NEW,ESTABLISHED", [TCP, synAck])).toEqual([true, false]);
    expect(caught("-m conntrack --ctstate SNAT,DNAT", [TCP, synAck])).toEqual([false, false]);
  });

  it("are all invalid in raw, before connection tracking", () => {
    const node = new NodeUnderTest({
      rules: `*raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -m conntrack --ctstate NEW -j DROP
        -A PREROUTING -m conntrack --ctstate INVALID`,
    });
    expect(node.walk(TCP)).toBe("raw PREROUTING 2");
  });

  it("are untracked after NOTRACK, which costs no look-up and leaves no entry", () => {
    const node = new NodeUnderTest({
      rules: `*raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -p udp -j CT --notrack
        *filter
        :FORWARD ACCEPT [0:0]
        -A FORWARD -m conntrack --ctstate UNTRACKED -j RETURN
        -A FORWARD -m conntrack --ctstate ESTABLISHED -j DROP`,
    });
    expect(node.push(UDP).work.conntrackLookups).toBe(0);
    expect(node.push("udp 10.1.0.11:53 > 10.1.0.10:40000").ctState).toBe("untracked");
    expect(node.push(TCP).work.conntrackLookups).toBe(1);
    expect(node.says("tcp 10.1.0.11:80 > 10.1.0.10:40000 SA")).toBe("drop by FORWARD 2");
  });

  it("are known per zone", () => {
    const node = new NodeUnderTest({
      rules: `*raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -i cali1 -j CT --zone 5
        -A PREROUTING -i cali1 -j CT --notrack`,
    });
    expect(node.push(UDP).ctState).toBe("new");
    // The answer is looked up in zone 5, where nothing asked; the second CT target comes too late.
    expect(node.push("udp 10.1.0.11:53 > 10.1.0.10:40000").ctState).toBe("new");
  });
});

describe("address types", () => {
  const rules = (type: string) => `-m addrtype --src-type ${type}`;
  const sources = ["192.168.0.11", "127.0.0.1", "10.1.0.11", "8.8.8.8", "255.255.255.255", "0.0.0.0", "224.0.0.1"];

  it.each([
    ["LOCAL", ["192.168.0.11", "127.0.0.1"]],
    ["UNICAST", ["10.1.0.11", "8.8.8.8"]],
    ["BROADCAST", ["255.255.255.255", "0.0.0.0"]],
    ["MULTICAST", ["224.0.0.1"]],
    ["ANYCAST", []],
  ])("%s is the type of %j", (type, expected) => {
    const node = new NodeUnderTest({
      rules: `*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING ${rules(type)} -j DROP`,
    });
    const found = sources.filter((source) => node.push(`udp ${source}:1 > 10.1.0.10:53`).verdict === "drop");
    expect(found).toEqual(expected);
  });

  it("in IPv6 the node's own addresses are unicast too, mapped ones are not", () => {
    const of = (type: string) =>
      ["fd00:192::11", "2001:db8::1", "ff02::1", "::ffff:10.1.0.1", "::"].filter((source) => {
        const node = new NodeUnderTest({
          family: 6,
          rules: `*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING ${rules(type)} -j DROP`,
        });
        return node.push(`udp [${source}]:1 > [fd00:1::10]:53`).verdict === "drop";
      });
    expect(of("LOCAL")).toEqual(["fd00:192::11"]);
    expect(of("UNICAST")).toEqual(["fd00:192::11", "2001:db8::1"]);
    expect(of("MULTICAST")).toEqual(["ff02::1"]);
  });
});

describe("rpfilter", () => {
  /** Packets as they come in by a device, whatever their source. */
  function spoofed(match: Match, cases: readonly (readonly [source: string, device: string])[]): boolean[] {
    const program: TableProgram = {
      ...nodeProgram({ rules: "*raw\n:PREROUTING ACCEPT [0:0]" }),
      families: [
        {
          family: 4,
          tables: [
            {
              name: "raw",
              chains: [
                { name: "PREROUTING", policy: "accept", rules: [{ matches: [match], target: { kind: "drop" } }] },
              ],
            },
          ],
        },
      ],
    };
    const [node] = new Fabric([program]).nodes;
    if (node === undefined) throw new Error("no node");
    return cases.map(([source, device]) => {
      const batch = createBatch(1);
      const row = appendPacket(batch, packetFrom(`udp ${source}:1 > 10.1.0.11:53`));
      batch.inDevice[row] = node.devices.number(device);
      const results = createResults(1);
      node.push(batch, results, 0, 1);
      const { reason } = node.decision(results.decision[row] ?? -1);
      if (results.verdict[row] === VERDICT_CODE.drop) expect(reason).toBe("spoofed");
      return results.verdict[row] === VERDICT_CODE.drop;
    });
  }

  const strict: Match = { kind: "rpfilter", validMark: true, loose: false, invert: true };

  it("inverted, catches sources that the way back does not lead to", () => {
    expect(
      spoofed(strict, [
        ["10.1.0.10", "cali0"],
        ["10.1.0.10", "cali1"],
        ["8.8.8.8", "cali0"],
        ["8.8.8.8", "eth0"],
        ["192.168.0.11", "eth0"],
      ]),
    ).toEqual([false, true, true, false, true]);
  });

  it("loose, asks only for a way back by some interface", () => {
    expect(
      spoofed({ ...strict, loose: true }, [
        ["10.1.0.10", "cali1"],
        ["192.168.0.11", "eth0"],
      ]),
    ).toEqual([false, true]);
  });
});

describe("limit", () => {
  it("lets a burst through, then as many as the time allows", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        -A FORWARD -m limit --limit 10/min --limit-burst 3 -j NFLOG --nflog-group 100`,
    });
    const logged = (time: number) => node.push(packetFrom(UDP, { time })).hops[0]?.walk?.length === 1;
    expect([0, 0, 0, 0, 5.9, 6, 7, 12].map(logged)).toEqual([true, true, true, false, false, true, false, true]);
    expect([100, 100, 100, 100].map(logged)).toEqual([true, true, true, false]);
  });
});

describe("opaque matches and targets", () => {
  const rules = (options: string) => `*filter
    :FORWARD ACCEPT [0:0]
    -A FORWARD ${options}
    -A FORWARD -j DROP`;

  it("make a verdict unknown when the packet gets there, and only then", () => {
    const node = new NodeUnderTest({ rules: rules("-p tcp -m statistic --mode random --probability 0.5 -j ACCEPT") });
    const unknown = node.push(TCP);
    expect(unknown).toMatchObject({ verdict: "unknown", reason: "opaque" });
    expect(unknown.decidedBy).toMatchObject({ chain: "FORWARD", rule: 1 });
    expect(node.says(UDP)).toBe("drop by FORWARD 2");
  });

  it("do not matter where another match of the rule fails, even a later one", () => {
    const node = new NodeUnderTest({
      rules: rules("-p tcp -m statistic --mode random --probability 0.5 -m tcp --dport 81 -j ACCEPT"),
    });
    expect(node.says(TCP)).toBe("drop by FORWARD 2");
  });

  it("do not matter where the target changes nothing", () => {
    const node = new NodeUnderTest({
      rules: rules("-m statistic --mode random --probability 0.5 -j NFLOG --nflog-group 1"),
    });
    expect(node.says(TCP)).toBe("drop by FORWARD 2");
  });

  it("a target nobody knows is unknown, and leaves no connection behind", () => {
    const node = new NodeUnderTest({
      rules: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num 1",
    });
    expect(node.push(UDP).verdict).toBe("unknown");
    expect(node.push("udp 10.1.0.11:53 > 10.1.0.10:40000").ctState).toBe("new");
  });
});
