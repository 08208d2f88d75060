/** The driver of the kernel judge alone: rules written by hand, packets, and what must come back. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Attachment } from "../../dataplane/program.ts";
import { helperPath } from "../../verify/kernel/helper.ts";
import { KernelNode, type KernelNodeOptions, type KernelResult } from "../../verify/kernel/node.ts";
import type { RuleText } from "../../verify/kernel/rules.ts";
import { hasKernel } from "./kernel.ts";

const address = (text: string) => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
};

const pods = [
  { endpoint: "default/a", addresses: [address("10.1.0.2"), address("fd00:1::2")], interface: "porta" },
  { endpoint: "default/b", addresses: [address("10.1.0.3"), address("fd00:1::3")], interface: "portb" },
];
const routed: Attachment = {
  uplink: "eth0",
  pods,
  remotePodAddresses: [],
  localAddresses: [address("192.168.0.11"), address("fd00:192::11")],
};
const bridged: Attachment = { ...routed, bridge: "pods" };

const packet = (source: string, destination: string, fields: Partial<Packet> = {}): Packet =>
  makePacket({
    protocol: PROTOCOL.tcp,
    source: address(source),
    destination: address(destination),
    destinationPort: 80,
    ...fields,
  });

const filter = (...rules: readonly string[]): string =>
  ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ...rules, "COMMIT", ""].join(
    "\n",
  );

async function withNode<T>(
  attachment: Attachment,
  options: KernelNodeOptions,
  work: (node: KernelNode) => Promise<T>,
): Promise<T> {
  const node = await KernelNode.start(attachment, options);
  try {
    return await work(node);
  } finally {
    await node.close();
  }
}

/** Rules written by hand have no program; chains they make up are counted where a test asks for walks. */
const noProgram = { families: [] };

const summary = ({ verdict, rejectedWith, leftBy }: KernelResult) =>
  [verdict, rejectedWith ?? leftBy].filter((word) => word !== undefined).join(" ");

/** A payload that ends in the middle of a 16-bit word; SCTP pads its chunks. */
const oddPayload = (protocol: number) => ({ payloadBytes: protocol === PROTOCOL.sctp ? 4 : 3 });

async function verdicts(
  attachment: Attachment,
  text: RuleText,
  packets: readonly Packet[],
): Promise<readonly string[]> {
  return withNode(attachment, { variant: "legacy", walks: false }, async (node) => {
    await node.load(text, noProgram);
    const results = await node.push(packets);
    expect(results.map(({ strays }) => strays)).toEqual(packets.map(() => 0));
    return results.map(summary);
  });
}

describe.runIf(hasKernel("judge"))("one node in the kernel", () => {
  it("tells accepted, dropped and rejected apart, and rejected with what", async () => {
    const kinds = ["icmp-port-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited", "icmp-net-unreachable"];
    const ipv4 = filter(
      "-A FORWARD -p tcp -m tcp --dport 81 -j DROP",
      "-A FORWARD -p tcp -m tcp --dport 82 -j REJECT --reject-with tcp-reset",
      ...kinds.map((kind, index) => `-A FORWARD -p udp -m udp --dport ${index + 1} -j REJECT --reject-with ${kind}`),
    );
    const ipv6 = filter(
      "-A FORWARD -p tcp -m tcp --dport 81 -j DROP",
      "-A FORWARD -p tcp -m tcp --dport 82 -j REJECT --reject-with tcp-reset",
      "-A FORWARD -p udp -m udp --dport 1 -j REJECT --reject-with icmp6-port-unreachable",
      "-A FORWARD -p udp -m udp --dport 2 -j REJECT --reject-with icmp6-adm-prohibited",
    );
    const to = (destinationPort: number, protocol: number = PROTOCOL.tcp) => ({ destinationPort, protocol });
    const packets = [
      packet("203.0.113.9", "10.1.0.2"),
      packet("10.1.0.2", "203.0.113.9"),
      packet("10.1.0.2", "10.1.0.3", to(81)),
      packet("10.1.0.2", "10.1.0.3", to(82)),
      ...kinds.map((_, index) => packet("10.1.0.2", "203.0.113.9", to(index + 1, PROTOCOL.udp))),
      packet("2001:db8::1", "fd00:1::2"),
      packet("fd00:1::2", "fd00:1::3", to(81)),
      packet("fd00:1::2", "fd00:1::3", to(82)),
      packet("fd00:1::2", "2001:db8::1", to(1, PROTOCOL.udp)),
      packet("fd00:1::2", "2001:db8::1", to(2, PROTOCOL.udp)),
    ];
    const expected = [
      "accept porta",
      "accept eth0",
      "drop",
      "reject tcp-reset",
      ...kinds.map((kind) => `reject ${kind}`),
      "accept porta",
      "drop",
      "reject tcp-reset",
      "reject icmp6-port-unreachable",
      "reject icmp6-adm-prohibited",
    ];
    expect(await verdicts(routed, { ipv4, ipv6 }, packets)).toEqual(expected);
  });

  it("sees what the node itself lets in and what it sends", async () => {
    const text = {
      ipv4: filter("-A INPUT -p tcp -m tcp --dport 81 -j DROP", "-A OUTPUT -p tcp -m tcp --dport 81 -j DROP"),
      ipv6: filter("-A INPUT -p tcp -m tcp --dport 81 -j DROP", "-A OUTPUT -p tcp -m tcp --dport 81 -j DROP"),
    };
    const ports = [80, 81];
    const packets = [
      ...ports.map((destinationPort) => packet("10.1.0.2", "192.168.0.11", { destinationPort })),
      ...ports.map((destinationPort) => packet("192.168.0.11", "10.1.0.2", { destinationPort })),
      ...ports.map((destinationPort) => packet("fd00:1::2", "fd00:192::11", { destinationPort })),
      ...ports.map((destinationPort) => packet("fd00:192::11", "fd00:1::2", { destinationPort })),
    ];
    const expected = ["accept", "drop", "accept porta", "drop"];
    expect(await verdicts(routed, text, packets)).toEqual([...expected, ...expected]);
  });

  it("answers every one of thousands of refused packets, so that REJECT never looks like DROP", async () => {
    const packets = Array.from({ length: 6000 }, (_, index) =>
      packet(index % 2 === 0 ? "10.1.0.2" : "fd00:1::2", index % 2 === 0 ? "10.1.0.3" : "fd00:1::3", {
        protocol: PROTOCOL.udp,
        sourcePort: 1024 + index,
      }),
    );
    const text = { ipv4: filter("-A FORWARD -j REJECT"), ipv6: filter("-A FORWARD -j REJECT") };
    const found = await verdicts(routed, text, packets);
    expect(new Set(found)).toEqual(new Set(["reject icmp-port-unreachable", "reject icmp6-port-unreachable"]));
  });

  it("replaces the rules, sets and connections of the program before", async () => {
    await withNode(routed, { variant: "legacy", walks: false }, async (node) => {
      const established = "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT";
      await node.load(
        {
          sets: "create blocked hash:ip family inet hashsize 1024 maxelem 65536\nadd blocked 10.1.0.3\n",
          ipv4: filter("-A FORWARD -m set --match-set blocked dst -j DROP"),
          ipv6: filter("-A FORWARD -j DROP"),
        },
        noProgram,
      );
      const there = packet("10.1.0.2", "203.0.113.9");
      const back = { ...packet("203.0.113.9", "10.1.0.2"), sourcePort: 80, destinationPort: 40_000 };
      const answer = { ...back, tcpFlags: TCP_FLAG.S | TCP_FLAG.A, acknowledgment: 1 };
      const blocked = [packet("10.1.0.2", "10.1.0.3"), packet("fd00:1::2", "fd00:1::3"), there];
      expect((await node.push(blocked)).map(({ verdict }) => verdict)).toEqual(["drop", "drop", "accept"]);
      await node.load({ ipv4: filter(established, "-A FORWARD -s 203.0.113.9/32 -j DROP") }, noProgram);
      expect(node.save().sets).toBe("");
      const [before, , toPod] = await node.push([answer, ...blocked.slice(0, 2)]);
      expect([before?.verdict, toPod?.verdict]).toEqual(["drop", "accept"]);
      expect((await node.push([there, answer])).map(({ verdict }) => verdict)).toEqual(["accept", "accept"]);
    });
  });

  it("refuses rules that the kernel refuses, in its words", async () => {
    await withNode(routed, { variant: "legacy", walks: false }, async (node) => {
      const broken = { ipv4: filter("-A FORWARD -j NOWHERE") };
      await expect(node.load(broken, noProgram)).rejects.toThrow(/NOWHERE|line 5/);
    });
  });

  it("reports the connections that packets make", async () => {
    await withNode(routed, { variant: "legacy", walks: false, events: true }, async (node) => {
      await node.load({ ipv4: filter("-A FORWARD -p udp -j DROP") }, noProgram);
      const client = { sourcePort: 40_000, destinationPort: 80 };
      const server = { sourcePort: 80, destinationPort: 40_000 };
      const { S, A } = TCP_FLAG;
      const results = await node.push([
        packet("10.1.0.2", "10.1.0.3", { ...client, tcpFlags: S, sequence: 100 }),
        packet("10.1.0.3", "10.1.0.2", { ...server, tcpFlags: S | A, sequence: 900, acknowledgment: 101 }),
        packet("10.1.0.2", "10.1.0.3", { ...client, tcpFlags: A, sequence: 101, acknowledgment: 901 }),
        packet("10.1.0.2", "10.1.0.3", { ...client, protocol: PROTOCOL.udp }),
      ]);
      const told = results.map(({ events }) =>
        events?.map((event) => `${event.kind} ${event.state} ${event.timeoutSeconds}`),
      );
      expect(told).toEqual([["new SYN_SENT 120"], ["update SYN_RECV 60"], ["update ESTABLISHED 432000"], []]);
    });
  });

  it("sends packets whose checksums the kernel finds right", async () => {
    const drop = "-A FORWARD -m conntrack --ctstate INVALID -j DROP";
    const { tcp, udp, sctp, icmp, icmpv6 } = PROTOCOL;
    const kinds = [
      ...[tcp, udp, sctp, icmp].map((protocol) =>
        packet("10.1.0.2", "203.0.113.9", { protocol, ...oddPayload(protocol) }),
      ),
      ...[tcp, udp, sctp, icmpv6].map((protocol) =>
        packet("fd00:1::2", "2001:db8::1", { protocol, ...oddPayload(protocol) }),
      ),
    ];
    // That it looks at all shows in UDP-Lite: it takes its checksum for one of UDP, and finds it wrong.
    const lite = packet("10.1.0.2", "203.0.113.9", { protocol: PROTOCOL.udplite });
    const options = { variant: "legacy", walks: false, checksums: "verify" } as const;
    const found = await withNode(routed, options, async (node) => {
      await node.load({ ipv4: filter(drop), ipv6: filter(drop) }, noProgram);
      return (await node.push([...kinds, lite])).map(({ verdict }) => verdict);
    });
    expect(found).toEqual([...kinds.map(() => "accept"), "drop"]);
    expect(await verdicts(routed, { ipv4: filter(drop), ipv6: filter(drop) }, [lite])).toEqual(["accept eth0"]);
  });

  it("leaves nothing on the machine", async () => {
    const devices = readdirSync("/sys/class/net");
    const forwarding = readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8");
    let pid = 0;
    await withNode(routed, { variant: "legacy", walks: true }, async (node) => {
      pid = node.pid;
      expect(existsSync(`/proc/${pid}`)).toBe(true);
      expect(node.run("ls /sys/class/net /proc/sys/net/ipv4/conf")).toContain("porta");
    });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(readdirSync("/sys/class/net")).toEqual(devices);
    expect(readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8")).toBe(forwarding);
  });

  it.each(["SIGKILL", "SIGINT"] as const)("leaves no helper when its driver gets a %s", async (signal) => {
    const driver = spawn(process.execPath, [
      "-e",
      `const child = require("child_process").spawn(process.argv[1], ["tun:orphan"], { stdio: "pipe" });
       child.stdout.once("data", () => console.log(child.pid));
       setInterval(() => {}, 1000);`,
      helperPath(),
    ]);
    const pid = await new Promise<string>((resolve) =>
      driver.stdout.once("data", (text: Buffer) => resolve(String(text).trim())),
    );
    expect(readFileSync(`/proc/${pid}/comm`, "utf8")).toMatch(/^oracle-/);
    driver.kill(signal);
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 5000 }).toBe(false);
  });
});

describe.runIf(hasKernel("bridge"))("a node whose pods hang on a bridge", () => {
  it("bridges same-node packets past the physdev rules and routes the others", async () => {
    const text = {
      ipv4: filter(
        "-A FORWARD -p tcp -m tcp --dport 81 -m physdev --physdev-is-bridged -j DROP",
        "-A FORWARD -p tcp -m tcp --dport 82 -m physdev --physdev-is-bridged -j REJECT --reject-with tcp-reset",
        "-A FORWARD -p udp -m physdev --physdev-is-bridged -j REJECT",
        "-A FORWARD -i pods -o eth0 -p udp -m physdev --physdev-in porta -j DROP",
      ),
      ipv6: filter("-A FORWARD -p tcp -m tcp --dport 81 -m physdev --physdev-is-bridged -j DROP"),
    };
    const packets = [
      packet("10.1.0.2", "10.1.0.3"),
      packet("10.1.0.2", "10.1.0.3", { destinationPort: 81 }),
      packet("10.1.0.2", "10.1.0.3", { destinationPort: 82 }),
      packet("10.1.0.3", "10.1.0.2", { protocol: PROTOCOL.udp }),
      packet("10.1.0.2", "203.0.113.9", { destinationPort: 81 }),
      packet("10.1.0.2", "203.0.113.9", { protocol: PROTOCOL.udp }),
      packet("10.1.0.3", "203.0.113.9", { protocol: PROTOCOL.udp }),
      packet("203.0.113.9", "10.1.0.3", { destinationPort: 81 }),
      packet("10.1.0.3", "192.168.0.11", { destinationPort: 81 }),
      packet("192.168.0.11", "10.1.0.3", { destinationPort: 81 }),
      packet("fd00:1::2", "fd00:1::3"),
      packet("fd00:1::2", "fd00:1::3", { destinationPort: 81 }),
      packet("fd00:1::3", "2001:db8::1", { destinationPort: 81 }),
    ];
    expect(await verdicts(bridged, text, packets)).toEqual([
      "accept portb",
      "drop",
      "reject tcp-reset",
      "reject icmp-port-unreachable",
      "accept eth0",
      "drop",
      "accept eth0",
      "accept portb",
      "accept",
      "accept portb",
      "accept portb",
      "drop",
      "accept eth0",
    ]);
  });
});

describe.runIf(hasKernel("nft-variant"))("walks", () => {
  const text = {
    ipv4: [
      "*filter",
      ":INPUT ACCEPT [0:0]",
      ":FORWARD DROP [0:0]",
      ":OUTPUT ACCEPT [0:0]",
      ":ONE - [0:0]",
      ":TWO - [0:0]",
      "-A FORWARD -p udp -j ACCEPT",
      "-A FORWARD -j ONE",
      "-A FORWARD -p tcp -m mark --mark 0x1/0x1 -j ACCEPT",
      "-A ONE -p tcp -m tcp --dport 80 -j TWO",
      "-A ONE -j RETURN",
      "-A TWO -j MARK --set-xmark 0x1/0x1",
      "COMMIT",
      "",
    ].join("\n"),
  };
  const chain = (name: string, rules: number) => ({
    name,
    rules: Array.from({ length: rules }, () => ({ matches: [] })),
  });
  const program = {
    families: [
      {
        family: 4 as const,
        tables: [{ name: "filter" as const, chains: [chain("FORWARD", 3), chain("ONE", 2), chain("TWO", 1)] }],
      },
    ],
  };

  it.each(["legacy", "nft"] as const)("of the %s variant are the rules that matched, in order", async (variant) => {
    const walks = await withNode(routed, { variant, walks: true }, async (node) => {
      await node.load(text, program);
      const results = await node.push([
        packet("10.1.0.2", "10.1.0.3", { protocol: PROTOCOL.udp }),
        packet("10.1.0.2", "10.1.0.3"),
        packet("10.1.0.2", "10.1.0.3", { destinationPort: 81 }),
      ]);
      return results.map(({ verdict, walk }) => [verdict, ...(walk ?? []).map((entry) => entry.join(" "))]);
    });
    expect(walks).toEqual([
      ["accept", "filter FORWARD 1"],
      ["accept", "filter FORWARD 2", "filter ONE 1", "filter TWO 1", "filter ONE 2", "filter FORWARD 3"],
      ["drop", "filter FORWARD 2", "filter ONE 2"],
    ]);
  });
});
