import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitWords } from "../../compiler/import/lines.ts";
import { withoutControls } from "../../compiler/names.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { renderMapDump } from "../../compiler/render/mapDump.ts";
import type { Chain, IPSet, MapProgram, Match, Rule, TableProgram, Target } from "../../dataplane/program.ts";
import { cidr } from "../../verify/fuzz/builders.ts";
import { attackArbitrary } from "./hostileClusters.ts";

const attachment = { uplink: "eth0", pods: [], remotePodAddresses: [], localAddresses: [] };

function program(rules: readonly Rule[], more: readonly Chain[] = [], sets: readonly IPSet[] = []): TableProgram {
  const builtIn = (name: string, own: readonly Rule[]): Chain => ({ name, policy: "accept", rules: own });
  const chains = [...more, builtIn("OUTPUT", []), builtIn("FORWARD", rules), builtIn("INPUT", [])];
  const families = [{ family: 4 as const, tables: [{ name: "filter" as const, chains }] }];
  return { kind: "tables", strategy: "test", node: "n", sets, families, attachment };
}

/** The rules of FORWARD behind their `-A FORWARD `. */
function printed(...rules: readonly Rule[]): readonly string[] {
  return renderIptablesSave(program(rules), 4)
    .split("\n")
    .filter((line) => line.startsWith("-A "))
    .map((line) => line.slice("-A FORWARD".length).trim());
}

const accept: Target = { kind: "accept" };
const tcp: Match = { kind: "protocol", protocol: 6, negate: false };
const ports = (side: "source" | "destination", first: number, last: number): Match => ({
  kind: "ports",
  side,
  ranges: [{ first, last }],
  extension: "tcp",
  negate: false,
});

describe("iptables-save", () => {
  it("puts the header first, in its own order, and the matches as they were given", () => {
    const matches: readonly Match[] = [
      { kind: "comment", text: "x" },
      tcp,
      { kind: "mark", value: 1, mask: 1, negate: true },
      { kind: "interface", side: "out", name: "eth+", negate: true },
      { kind: "address", side: "destination", cidr: cidr("10.0.0.0/8"), negate: true },
      { kind: "address", side: "source", cidr: cidr("10.0.0.1/32"), negate: false },
    ];
    expect(printed({ matches, target: accept })).toEqual([
      "-s 10.0.0.1/32 ! -d 10.0.0.0/8 ! -o eth+ -p tcp -m comment --comment x -m mark ! --mark 0x1/0x1 -j ACCEPT",
    ]);
  });

  it("makes one -m of what one module asks, and leaves out what is everything", () => {
    const flags: Match = { kind: "tcpFlags", mask: 0x17, compare: 0x02, negate: false };
    expect(
      printed(
        { matches: [tcp, ports("source", 1, 2), ports("destination", 80, 80), flags] },
        { matches: [tcp, ports("destination", 0, 65_535)] },
        { matches: [tcp, ports("destination", 80, 80), ports("source", 1, 2)] },
        { matches: [{ kind: "address", side: "source", cidr: cidr("0.0.0.0/0"), negate: false }] },
      ),
    ).toEqual([
      "-p tcp -m tcp --sport 1:2 --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN",
      "-p tcp -m tcp",
      "-p tcp -m tcp --dport 80 -m tcp --sport 1:2",
      "",
    ]);
  });

  it("has the built-in chains first and the others by name", () => {
    const text = renderIptablesSave(
      program(
        [],
        [
          { name: "b", rules: [] },
          { name: "Z", rules: [] },
        ],
      ),
      4,
    );
    const declared = text.split("\n").flatMap((line) => (line.startsWith(":") ? line.split(" ")[0] : []));
    expect(declared).toEqual([":INPUT", ":FORWARD", ":OUTPUT", ":Z", ":b"]);
  });

  it("is empty for a family that is not programmed", () => {
    expect(renderIptablesSave(program([]), 6)).toBe("");
  });

  it("writes origins and counters when asked, each on its rule's line or before it", () => {
    const rule: Rule = { matches: [], target: accept, origin: "default/a\nb ingress[0]", counters: [3, 120] };
    const lines = renderIptablesSave(program([rule]), 4, { origins: "before rules", counters: "shown" }).split("\n");
    const at = lines.indexOf("[3:120] -A FORWARD -j ACCEPT");
    expect(lines[at - 1]).toBe("# default/ab ingress[0]");
  });

  it("a comment comes back as the one word it was, whatever is in it", () => {
    fc.assert(
      fc.property(attackArbitrary.map(withoutControls), (text) => {
        const [line = ""] = printed({ matches: [{ kind: "comment", text }], target: accept });
        const words = splitWords(line, "iptables");
        expect(words.kind === "words" && words.words.map((word) => word.text)).toEqual([
          "-m",
          "comment",
          "--comment",
          text,
          "-j",
          "ACCEPT",
        ]);
      }),
    );
  });

  it.each([
    ["a line end in a comment", { matches: [{ kind: "comment", text: "a\n-A INPUT -j DROP" }] }],
    ["a blank in an interface", { matches: [{ kind: "interface", side: "in", name: "a -j DROP", negate: false }] }],
    ["a quote in a set's name", { matches: [{ kind: "set", set: 'a"', sides: ["source"], negate: false }] }],
    ["an option for a chain", { matches: [], target: { kind: "jump", chain: "-j" } }],
    ["a second line in a target", { matches: [], target: { kind: "log", target: "LOG", text: "x\n-A INPUT" } }],
  ] as const satisfies readonly (readonly [string, Rule])[])("refuses to print %s", (_, rule) => {
    expect(() => printed(rule)).toThrow(/control character|white space|begins like an option/);
  });
});

describe("ipset save", () => {
  it("has lists of sets last, and a seed for each set that its name alone decides", () => {
    const sets: readonly IPSet[] = [
      { name: "L", type: "list:set", family: 4, members: [{ kind: "set", set: "S" }], options: {} },
      {
        name: "S",
        type: "hash:net",
        family: 4,
        members: [
          { kind: "net", cidr: cidr("10.0.0.0/8") },
          { kind: "net", cidr: cidr("10.0.0.1/32"), nomatch: true },
        ],
        options: { timeoutSeconds: 0 },
      },
    ];
    const text = renderIpsetSave(program([], [], sets));
    expect(text.replace(/0x[0-9a-f]{8}/, "SEED").split("\n")).toEqual([
      "create S hash:net family inet hashsize 1024 maxelem 65536 timeout 0 bucketsize 12 initval SEED",
      "add S 10.0.0.0/8 timeout 0",
      "add S 10.0.0.1 timeout 0 nomatch",
      "create L list:set size 8",
      "add L S",
      "",
    ]);
    expect(renderIpsetSave(program([], [], sets))).toBe(text);
  });

  it("refuses to print a quote in a comment", () => {
    const member = { kind: "net", cidr: cidr("10.0.0.1/32"), comment: 'a" timeout 1' } as const;
    const set: IPSet = { name: "S", type: "hash:ip", family: 4, members: [member], options: { comment: true } };
    expect(() => renderIpsetSave(program([], [], [set]))).toThrow(/quote/);
  });
});

describe("map dump", () => {
  it("shows each map by the bytes of its keys, and who looks up what", () => {
    const entry = (key: readonly number[], origin?: string) => ({
      key: Uint8Array.from(key),
      value: Uint8Array.of(255),
      ...(origin !== undefined && { origin }),
    });
    const maps: MapProgram = {
      kind: "maps",
      strategy: "test",
      node: "n",
      maps: [
        {
          name: "policy",
          type: "hash",
          keyBytes: 2,
          valueBytes: 1,
          maxEntries: 8,
          entries: [entry([10, 1], "default/a\nb ingress[0]"), entry([9, 200])],
        },
      ],
      attachPoints: [
        { endpoint: "default/a", direction: "ingress", plan: { kind: "identity", ipcache: "ip", policy: "policy" } },
      ],
      attachment,
    };
    expect(renderMapDump(maps).split("\n")).toEqual([
      "map policy  hash  key 2 B  value 1 B  2 of 8 entries",
      "  09 c8  ->  ff",
      "  0a 01  ->  ff    default/ab ingress[0]",
      "attach default/a ingress  identity: ip, then policy",
      "",
    ]);
  });
});
