import { describe, expect, it } from "vitest";
import { Fabric } from "../../dataplane/fabric.ts";
import { TraceRecorder, type TraceStep } from "../../dataplane/trace.ts";
import { NodeUnderTest, nodeProgram, packetFrom } from "./nodeUnderTest.ts";

const SYN = "tcp 10.1.0.10:40000 > 10.1.0.11:80 S";
const SYN_ACK = "tcp 10.1.0.11:80 > 10.1.0.10:40000 SA";
const UDP = "udp 10.1.0.10:40000 > 10.1.0.11:53";

describe("chains", () => {
  it("a jump comes back to the next rule when the chain ends", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        :A - [0:0]
        -A FORWARD -j A
        -A FORWARD -j DROP
        -A A -p udp -j ACCEPT
        -A A`,
    });
    expect(node.walk(SYN)).toBe("FORWARD 1, A 2, FORWARD 2");
    expect(node.says(SYN)).toBe("drop by FORWARD 2");
    expect(node.says(UDP)).toBe("accept by A 1");
  });

  it("return leaves one chain, not the whole table", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        :A - [0:0]
        :B - [0:0]
        -A FORWARD -j A
        -A FORWARD -j DROP
        -A A -j B
        -A A -p tcp -j REJECT --reject-with icmp-port-unreachable
        -A B -j RETURN
        -A B -j ACCEPT`,
    });
    expect(node.walk(SYN)).toBe("FORWARD 1, A 1, B 1, A 2");
    expect(node.says(SYN)).toBe("reject by A 2");
    expect(node.says(UDP)).toBe("drop by FORWARD 2");
  });

  it("return in a built-in chain applies its policy", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD DROP [0:0]
        -A FORWARD -p udp -j RETURN
        -A FORWARD -j ACCEPT`,
    });
    expect(node.says(UDP)).toBe("drop by FORWARD 3");
    expect(node.push(UDP).reason).toBe("chain-policy");
    expect(node.says(SYN)).toBe("accept by FORWARD 2");
  });

  it("goto comes back to the caller of the chain that did it", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        :A - [0:0]
        :B - [0:0]
        :C - [0:0]
        -A FORWARD -j A
        -A FORWARD -p udp -j DROP
        -A A -g B
        -A A -j REJECT --reject-with icmp-port-unreachable
        -A B -j C
        -A B
        -A C -j RETURN`,
    });
    expect(node.walk(UDP)).toBe("FORWARD 1, A 1, B 1, C 1, B 2, FORWARD 2");
  });

  it("goto from a built-in chain ends in its policy", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD DROP [0:0]
        :A - [0:0]
        -A FORWARD -g A
        -A FORWARD -j ACCEPT
        -A A -p udp -j ACCEPT`,
    });
    expect(node.says(SYN)).toBe("drop by FORWARD 3");
    expect(node.says(UDP)).toBe("accept by A 1");
  });

  it("one chain is walked as often as it is called, each call coming back to its own place", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        :A - [0:0]
        :M - [0:0]
        -A FORWARD -j M
        -A FORWARD -j A
        -A FORWARD -j M
        -A A -j M
        -A A -m mark --mark 0x0/0x1 -j DROP
        -A M -j MARK --set-xmark 0x1/0x0`,
    });
    // The mark flips on each call: it is 0 after the second, inside A.
    expect(node.walk(SYN)).toBe("FORWARD 1, M 1, FORWARD 2, A 1, M 1, A 2");
  });

  it("chains nested as deep as they go find their way back", () => {
    const depth = 200;
    const lines = ["*filter", ":FORWARD DROP [0:0]"];
    for (let level = 0; level < depth; level++) lines.push(`:L${level} - [0:0]`);
    lines.push("-A FORWARD -j L0", "-A FORWARD -j ACCEPT");
    for (let level = 0; level < depth - 1; level++) lines.push(`-A L${level} -j L${level + 1}`, `-A L${level}`);
    const result = new NodeUnderTest({ rules: lines.join("\n") }).push(SYN);
    expect(result.work).toMatchObject({ rules: 2 + 2 * (depth - 1), chains: depth + 1 });
    expect(result.verdict).toBe("accept");
  });

  it("loops and jumps to nowhere are refused when the program is loaded", () => {
    const program = nodeProgram({ rules: "*filter\n:FORWARD ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]" });
    const with_ = (to: string, kind: "jump" | "goto") => ({
      ...program,
      families: program.families.map((family) => ({
        ...family,
        tables: family.tables.map((table) => ({
          ...table,
          chains: table.chains.map((chain) =>
            chain.name === "A"
              ? { ...chain, rules: [{ matches: [], target: { kind, chain: to } as const }] }
              : chain.name === "B"
                ? { ...chain, rules: [{ matches: [], target: { kind: "jump", chain: "A" } as const }] }
                : chain,
          ),
        })),
      })),
    });
    expect(() => new Fabric([with_("B", "jump")])).toThrow("loop");
    expect(() => new Fabric([with_("A", "goto")])).toThrow("loop");
    expect(() => new Fabric([with_("gone", "goto")])).toThrow("gone");
  });
});

/** A node that says by its walk where a packet came through: a bare rule in every built-in chain. */
const EVERYWHERE = `*raw
  :PREROUTING ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  -A PREROUTING
  -A OUTPUT
  *mangle
  :PREROUTING ACCEPT [0:0]
  :INPUT ACCEPT [0:0]
  :FORWARD ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  :POSTROUTING ACCEPT [0:0]
  -A PREROUTING
  -A INPUT
  -A FORWARD
  -A OUTPUT
  -A POSTROUTING
  *nat
  :PREROUTING ACCEPT [0:0]
  :INPUT ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  :POSTROUTING ACCEPT [0:0]
  -A PREROUTING
  -A INPUT
  -A OUTPUT
  -A POSTROUTING
  *filter
  :INPUT ACCEPT [0:0]
  :FORWARD ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  -A INPUT
  -A FORWARD
  -A OUTPUT
  *security
  :INPUT ACCEPT [0:0]
  :FORWARD ACCEPT [0:0]
  :OUTPUT ACCEPT [0:0]
  -A INPUT
  -A FORWARD
  -A OUTPUT`;

/** The tables and hooks of a walk, without rule numbers. */
function stations(node: NodeUnderTest, packet: string): string {
  const hops = node.push(packet).hops;
  return hops.flatMap(({ walk = [] }) => walk.map(([table, chain]) => `${table}:${chain.toLowerCase()}`)).join(" ");
}

describe("hooks", () => {
  it("a forwarded packet meets the tables in the order of their priorities", () => {
    expect(stations(new NodeUnderTest({ rules: EVERYWHERE }), SYN)).toBe(
      "raw:prerouting mangle:prerouting nat:prerouting mangle:forward filter:forward security:forward " +
        "mangle:postrouting nat:postrouting",
    );
  });

  it("so does one for the node, with nat last", () => {
    expect(stations(new NodeUnderTest({ rules: EVERYWHERE }), "udp 10.1.0.10:1 > 192.168.0.11:53")).toBe(
      "raw:prerouting mangle:prerouting nat:prerouting mangle:input filter:input security:input nat:input",
    );
  });

  it("and one from the node, with nat before filter", () => {
    expect(stations(new NodeUnderTest({ rules: EVERYWHERE }), "udp 192.168.0.11:1 > 10.1.0.10:53")).toBe(
      "raw:output mangle:output nat:output filter:output security:output mangle:postrouting nat:postrouting",
    );
  });

  it("the nat table sees only the packet that makes a connection", () => {
    const node = new NodeUnderTest({ rules: EVERYWHERE });
    expect(stations(node, UDP)).toContain("nat:");
    // The same packet again is still new, for nobody answered, but its connection has been through nat.
    expect(node.push(UDP).ctState).toBe("new");
    expect(stations(node, UDP)).not.toContain("nat:");
    expect(stations(node, "udp 10.1.0.11:53 > 10.1.0.10:40000")).not.toContain("nat:");
    // Invalid packets belong to no connection.
    expect(stations(node, "tcp 10.1.0.10:1 > 10.1.0.11:80 SA")).not.toContain("nat:");
  });

  it("masquerading ends the nat table and nothing else", () => {
    const node = new NodeUnderTest({
      rules: `*nat
        :POSTROUTING ACCEPT [0:0]
        -A POSTROUTING -j MASQUERADE
        -A POSTROUTING -j LOG`,
    });
    expect(node.walk(UDP)).toBe("nat POSTROUTING 1");
    expect(node.push(SYN).verdict).toBe("accept");
  });

  it("a drop ends the way at once, in whichever table", () => {
    const node = new NodeUnderTest({ rules: EVERYWHERE.replace("-A FORWARD\n", "-A FORWARD -p udp -j DROP\n") });
    expect(node.says(UDP)).toBe("drop by mangle FORWARD 1");
    expect(stations(node, UDP)).toBe("raw:prerouting mangle:prerouting nat:prerouting mangle:forward");
  });

  it("an accepted packet is said to be decided by the filter table, where there is one", () => {
    const node = new NodeUnderTest({ rules: EVERYWHERE });
    expect(node.says(SYN)).toBe("accept by FORWARD 2");
    const mangleOnly = new NodeUnderTest({ rules: "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT" });
    expect(mangleOnly.says(SYN)).toBe("accept by raw PREROUTING 1");
  });

  it("a packet dropped in raw has cost connection tracking nothing", () => {
    const node = new NodeUnderTest({ rules: "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DROP" });
    expect(node.push(SYN)).toMatchObject({ verdict: "drop", ctState: "untracked", work: { conntrackLookups: 0 } });
  });
});

describe("connections", () => {
  const stateful = `*filter
    :FORWARD DROP [0:0]
    -A FORWARD -m conntrack --ctstate INVALID -j DROP
    -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A FORWARD -s 10.1.0.10/32 -p tcp -m tcp --dport 80 -j ACCEPT`;

  it("are there for the answers once their first packet was accepted", () => {
    const node = new NodeUnderTest({ rules: stateful });
    expect(node.push(SYN)).toMatchObject({ verdict: "accept", ctState: "new" });
    expect(node.push(SYN_ACK)).toMatchObject({ verdict: "accept", ctState: "established" });
    expect(node.says("tcp 10.1.0.10:40000 > 10.1.0.11:80 A")).toBe("accept by FORWARD 2");
  });

  it("are not there when their first packet was dropped", () => {
    const node = new NodeUnderTest({ rules: stateful });
    expect(node.push("tcp 10.1.0.10:40000 > 10.1.0.11:81 S")).toMatchObject({
      verdict: "drop",
      reason: "chain-policy",
    });
    const answer = node.push("tcp 10.1.0.11:81 > 10.1.0.10:40000 SA");
    expect(answer).toMatchObject({ verdict: "drop", ctState: "invalid", reason: "invalid" });
  });

  it("are not there when it was rejected, or dropped after the filter table", () => {
    const rejected = stateful
      .replace("DROP [0:0]", "ACCEPT [0:0]")
      .replace("--dport 80 -j ACCEPT", "--dport 80 -j REJECT --reject-with tcp-reset");
    const late = `${stateful}\n*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -p tcp -m tcp --dport 80 -j DROP`;
    for (const [rules, verdict] of [
      [rejected, "reject"],
      [late, "drop"],
    ] as const) {
      const node = new NodeUnderTest({ rules });
      expect(node.push(SYN).verdict).toBe(verdict);
      expect(node.push(SYN_ACK).ctState).toBe("invalid");
    }
  });

  it("outlive the rules that let them in", () => {
    const node = new NodeUnderTest({ rules: stateful });
    node.push(SYN);
    node.push(SYN_ACK);
    node.fabric.load([nodeProgram({ rules: stateful.replace("--dport 80", "--dport 81") })]);
    expect(node.says("tcp 10.1.0.10:40000 > 10.1.0.11:80 A")).toBe("accept by FORWARD 2");
    expect(node.says("tcp 10.1.0.10:40001 > 10.1.0.11:80 S")).toBe("drop by FORWARD 4");
    node.fabric.flushConntrack();
    expect(node.says("tcp 10.1.0.11:80 > 10.1.0.10:40000 SA")).toBe("drop by FORWARD 1");
  });

  it("that find no room are dropped before any rule but raw's", () => {
    const node = new NodeUnderTest({ rules: EVERYWHERE }, { conntrack: { maxEntries: 1 } });
    expect(node.push(SYN).verdict).toBe("accept");
    expect(node.push(SYN_ACK).verdict).toBe("accept");
    expect(node.push("tcp 10.1.0.10:40000 > 10.1.0.11:80 A").verdict).toBe("accept");
    const late = node.push(UDP);
    expect(late).toMatchObject({ verdict: "drop", reason: "table-full", decidedBy: undefined });
    expect(late.hops[0]?.walk).toEqual([["raw", "PREROUTING", 1]]);
  });
});

describe("reasons", () => {
  it("tell an interface nobody has from a policy", () => {
    const node = new NodeUnderTest({
      rules: `*filter
        :FORWARD ACCEPT [0:0]
        :dispatch - [0:0]
        :pod - [0:0]
        -A FORWARD -j dispatch
        -A dispatch -i cali0 -g pod
        -A dispatch -m comment --comment "Unknown interface" -j DROP
        -A pod -j DROP`,
    });
    expect(node.push(SYN)).toMatchObject({ verdict: "drop", reason: "policy" });
    expect(node.push("udp 10.1.0.11:1 > 10.1.0.10:53")).toMatchObject({ verdict: "drop", reason: "unknown-interface" });
  });
});

describe("a trace", () => {
  const rules = `*filter
    :FORWARD DROP [0:0]
    :A - [0:0]
    -A FORWARD -p udp -j ACCEPT
    -A FORWARD -j MARK --set-xmark 0x1/0x1
    -A FORWARD -j A
    -A A -m mark --mark 0x2/0x2 -j ACCEPT`;

  function line(step: TraceStep): string {
    switch (step.kind) {
      case "conntrack":
        return `ct ${step.state}`;
      case "rule":
        return `${step.chain} ${step.number} mark ${step.mark} ${step.failed === undefined ? "matched" : step.failed.kind}`;
      case "chainEnd":
        return `${step.chain} ${step.number} ${step.policy ?? "end"}`;
      case "lookup":
        return step.map;
      case "verdict":
        return step.verdict;
    }
  }

  it("tells every step in order: state, rules with the match that failed, ends of chains, verdict", () => {
    const node = new NodeUnderTest({ rules });
    const recorder = new TraceRecorder();
    node.fabric.push(packetFrom(SYN), recorder);
    expect(recorder.steps.map(line)).toEqual([
      "ct new",
      "FORWARD 1 mark 0 protocol",
      "FORWARD 2 mark 0 matched",
      "FORWARD 3 mark 1 matched",
      "A 1 mark 1 mark",
      "A 2 end",
      "FORWARD 4 drop",
      "drop",
    ]);
  });

  it("of matches alone leaves the others out and changes nothing else", () => {
    const steps: string[] = [];
    const node = new NodeUnderTest({ rules });
    const result = node.fabric.push(packetFrom(SYN), { detail: "matches", step: (step) => steps.push(line(step)) });
    expect(steps).toEqual([
      "ct new",
      "FORWARD 2 mark 0 matched",
      "FORWARD 3 mark 1 matched",
      "A 2 end",
      "FORWARD 4 drop",
      "drop",
    ]);
    expect(result).toEqual(new NodeUnderTest({ rules }).push(SYN));
    expect(result.work.rules).toBe(4);
  });
});
