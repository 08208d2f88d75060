import { describe, expect, it } from "vitest";
import { Fabric } from "../../dataplane/fabric.ts";
import type { Attachment, TableProgram } from "../../dataplane/program.ts";
import { address, packet } from "../../verify/fuzz/builders.ts";
import { filterSave, programOf } from "./importing.ts";

const NODE: Attachment = {
  uplink: "eth0",
  pods: [{ endpoint: "default/db", addresses: [address("10.1.0.2")], interface: "cali1" }],
  remotePodAddresses: [],
  localAddresses: [address("192.168.0.11")],
};

const fabricOf = (program: TableProgram) => new Fabric([program], { only: "node-a" });

/** What a first packet from outside to the pod's port meets. */
function verdictTo(port: number, texts: { readonly ipv4: string; readonly sets?: string }): string {
  const fabric = fabricOf(programOf({ ...texts, attachment: NODE }));
  const { verdict, reason } = fabric.push(packet("tcp", "203.0.113.9", "10.1.0.2", { destinationPort: port }));
  return reason === undefined ? verdict : `${verdict} ${reason}`;
}

function natSave(...rules: readonly string[]): string {
  return ["*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", ":SVC - [0:0]", ":LAST - [0:0]"]
    .concat(rules, "COMMIT", "")
    .join("\n");
}

describe("a packet is unknown only where it really meets what is not represented", () => {
  const random = "-m statistic --mode random --probability 0.5";

  it("not when another match of the rule fails, before or behind it", () => {
    const ipv4 = filterSave(`-A FORWARD -p tcp -m tcp --dport 80 ${random} -m mark --mark 0x0 -j DROP`);
    expect(verdictTo(80, { ipv4 })).toBe("unknown opaque");
    expect(verdictTo(81, { ipv4 })).toBe("accept");
    const marked = filterSave(`-A FORWARD ${random} -m mark --mark 0x1 -j DROP`);
    expect(verdictTo(80, { ipv4: marked })).toBe("accept");
  });

  it("not when the rule only tells about the packet", () => {
    expect(verdictTo(80, { ipv4: filterSave(`-A FORWARD ${random} -j LOG`, "-A FORWARD -j DROP") })).toBe(
      "drop policy",
    );
    expect(verdictTo(80, { ipv4: filterSave(`-A FORWARD ${random}`, "-A FORWARD -j DROP") })).toBe("drop policy");
    expect(verdictTo(80, { ipv4: filterSave("-A FORWARD -m tcp -p tcp -j TCPMSS --set-mss 1400") })).toBe("accept");
  });

  it("not in a chain it does not enter, nor behind a rule that ends its way", () => {
    const rules = ["-A POD-FW -j NFQUEUE --queue-num 1", "-A FORWARD -p tcp -m tcp --dport 80 -j POD-FW"];
    expect(verdictTo(80, { ipv4: filterSave(...rules) })).toBe("unknown opaque");
    expect(verdictTo(81, { ipv4: filterSave(...rules) })).toBe("accept");
    expect(verdictTo(80, { ipv4: filterSave("-A FORWARD -j ACCEPT", ...rules) })).toBe("accept");
  });

  it("a rule that asks a set we lack is unknown to every packet that gets there", () => {
    const ipv4 = filterSave("-A FORWARD -p tcp -m tcp --dport 80 -m set ! --match-set PORTS dst -j DROP");
    expect(verdictTo(80, { ipv4 })).toBe("unknown opaque");
    expect(verdictTo(80, { ipv4, sets: "create PORTS bitmap:port range 0-100\n" })).toBe("unknown opaque");
    expect(verdictTo(81, { ipv4 })).toBe("accept");
  });

  it("a new destination is unknown, a new source changes nothing on this node", () => {
    const dnat = natSave("-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.9:8080");
    expect(verdictTo(80, { ipv4: dnat })).toBe("unknown opaque");
    expect(verdictTo(81, { ipv4: dnat })).toBe("accept");
    expect(verdictTo(80, { ipv4: natSave("-A POSTROUTING -j MASQUERADE --random-fully") })).toBe("accept");
  });

  it("kube-proxy's choice of a backend is unknown, its choice of a source is not", () => {
    const ipv4 = natSave(
      `-A PREROUTING -d 10.96.0.10/32 ${random} -j SVC`,
      "-A POSTROUTING -j LAST",
      `-A LAST ${random} -j MASQUERADE`,
      "-A LAST -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE",
    );
    const sets = "create KUBE-LOOP-BACK hash:ip,port,ip\n";
    expect(verdictTo(80, { ipv4, sets })).toBe("accept");
    const service = packet("tcp", "203.0.113.9", "10.96.0.10", { destinationPort: 80 });
    expect(fabricOf(programOf({ ipv4, sets, attachment: NODE })).push(service).verdict).toBe("unknown");
  });
});

it("chains nested deeper than any stack of calls are walked", () => {
  const depth = 50_000;
  const chains = Array.from({ length: depth }, (_, index) => `:C${index} - [0:0]`);
  const jumps = Array.from({ length: depth - 1 }, (_, index) => `-A C${index} -j C${index + 1}`);
  const lines = [
    "*filter",
    ":FORWARD ACCEPT [0:0]",
    ...chains,
    "-A FORWARD -j C0",
    ...jumps,
    `-A C${depth - 1} -j DROP`,
  ];
  expect(verdictTo(80, { ipv4: [...lines, "COMMIT", ""].join("\n") })).toBe("drop policy");
});
