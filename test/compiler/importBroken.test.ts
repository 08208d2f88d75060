import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runsOf } from "../extent.ts";
import { filterSave, importTexts, issuesOf, type Texts } from "./importing.ts";

/** Errors only, as text. */
function errorsOf(texts: Texts): readonly string[] {
  const { program, issues } = importTexts(texts);
  expect(program).toBeUndefined();
  expect(issues.some(({ severity }) => severity === "error")).toBe(true);
  return issuesOf(texts);
}

describe("text that is no save", () => {
  it.each([
    ["create S hash:ip\n", "v4:1:1: error: this is the output of ipset save; want the output of iptables-save"],
    ["table ip filter {\n}\n", "this is the output of nft list ruleset"],
    ["-P INPUT ACCEPT\n-N FOO\n", "this is the output of iptables -S"],
    ["Chain INPUT (policy ACCEPT)\n", "this is the output of iptables -L"],
    ["apiVersion: v1\nkind: Pod\n", "this is a manifest"],
    ["\n\n  <html>\n", "v4:3:1: error: <html>: want the output of iptables-save or ip6tables-save"],
    ["\u0000\u0001\u0002", "want the output of iptables-save"],
  ])("%j is refused once, in the line where it shows", (ipv4, expected) => {
    const errors = errorsOf({ ipv4 });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(expected);
  });
});

describe("saves that no kernel printed", () => {
  it.each([
    ["*filter\n:INPUT ACCEPT [0:0]\n", "v4:2:1: error: table filter, begun in line 1, does not end with COMMIT"],
    ["*filter\n*nat\nCOMMIT\n", "v4:2:1: error: table filter, begun in line 1, does not end with COMMIT"],
    ["*fitler\n:X - [0:0]\nCOMMIT\n", "v4:1:1: error: *fitler: want one of raw, mangle, nat, filter, security"],
    ["*filter\nCOMMIT\n*filter\nCOMMIT\n", "v4:3:1: error: *filter: the table stands in this save twice"],
    ["*filter\nCOMMIT\nCOMMIT\n", "v4:3:1: error: COMMIT: outside of a table"],
    ["*filter\nCOMMIT\n-A FORWARD -j DROP\n", "v4:3:1: error: -A FORWARD -j DROP: outside of a table"],
    ["*filter\n:FORWARD\nCOMMIT\n", "v4:2:1: error: :FORWARD: want :CHAIN POLICY [packets:bytes]"],
    ["*filter\n:FORWARD REJECT [0:0]\nCOMMIT\n", "policy REJECT of FORWARD: want ACCEPT or DROP"],
    ["*filter\n:MINE ACCEPT [0:0]\nCOMMIT\n", "policy ACCEPT of MINE: want -"],
    ["*filter\n:A - [0:0]\n:A - [0:0]\nCOMMIT\n", "v4:3:1: error: filter A: A: declared twice"],
    [`*filter\n:${"x".repeat(29)} - [0:0]\nCOMMIT\n`, "is longer than 28 bytes"],
    ["*filter\nhello\nCOMMIT\n", "v4:2:1: error: hello: want *table, :chain, -A rule, COMMIT or # comment"],
    ["*filter\n-I FORWARD 1 -j DROP\nCOMMIT\n", "v4:2:1: error: -I FORWARD 1 -j DROP: want *table"],
    [filterSave("-A GONE -j DROP"), "v4:6:4: error: -A GONE: no chain declared in table filter"],
    [
      filterSave("-A FORWARD -j GONE"),
      "v4:6:15: error: filter FORWARD 1: -j GONE: neither a chain declared in table filter nor a target",
    ],
    [filterSave("-A FORWARD -g ACCEPT"), "-g ACCEPT: no chain declared in table filter"],
    [filterSave("-A POD-FW -j FORWARD"), "-j FORWARD: a rule cannot send a packet to a built-in chain"],
    [filterSave("-A POD-FW -j POD-FW"), "v4:6:4: error: filter: chains jump in a circle: POD-FW > POD-FW"],
  ])("%j", (ipv4, expected) => {
    expect(errorsOf({ ipv4 }).join("\n")).toContain(expected);
  });

  it("a circle of several chains names them all", () => {
    const save = "*nat\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]\n-A A -j B\n-A B -g C\n-A C -j B\nCOMMIT\n";
    expect(errorsOf({ ipv4: save })).toEqual(["v4:7:4: error: nat: chains jump in a circle: B > C > B"]);
  });
});

/** Chains of which each has the rules that `rulesOf` gives, the first from FORWARD. */
function chainsSave(count: number, rulesOf: (chain: number) => readonly string[]): string {
  const chains = Array.from({ length: count }, (_, chain) => chain);
  return [
    "*filter",
    ":FORWARD ACCEPT [0:0]",
    ...chains.map((chain) => `:C${chain} - [0:0]`),
    "-A FORWARD -j C0",
    ...chains.flatMap((chain) => (chain + 1 < count ? rulesOf(chain) : [])),
    "COMMIT\n",
  ].join("\n");
}

describe("chains that nothing would come out of in time", () => {
  const once = (chain: number) => [`-A C${chain} -j C${chain + 1}`];
  const twice = (chain: number) => [...once(chain), ...once(chain)];

  it("those that double the way with each level are refused; those that are only deep are walked", () => {
    expect(errorsOf({ ipv4: chainsSave(60, twice) })).toEqual([
      "v4:131:4: error: filter: a packet in C33 may enter more than 100000000 chains, one after the other",
    ]);
    for (const save of [chainsSave(20, twice), chainsSave(20_000, once)]) {
      expect(importTexts({ ipv4: save }).program).toBeDefined();
    }
  });
});

describe("rules that no kernel held", () => {
  it.each([
    ["-s 10.0.0.256", "v4:6:15: error: filter FORWARD 1: -s 10.0.0.256: want an IPv4 address or prefix"],
    ["-s 10.0.0.0/33", "want an IPv4 address or prefix"],
    ["-s fd00::/8", "fd00:: is an IPv6 address in a save of IPv4 tables"],
    ["-s 10.0.0.1 -s 10.0.0.2", "-s: stands more than once in a rule"],
    ["-i a-very-long-interface", "want an interface's name; this one is longer than 15 bytes"],
    ["-p 256", "-p 256: want a protocol name or a number 0-255"],
    ["! -p all", "-p all: want a protocol name"],
    ["-p tcp -m tcp --dport 65536", "--dport 65536: want a port 0-65535 or a range first:last"],
    ["-p tcp -m tcp --dport 90:80", "--dport 90:80: want a port 0-65535 or a range first:last"],
    ["-p tcp -m tcp --dport 80 --dport 81", "--dport: stands more than once for tcp"],
    ["-m tcp --dport 80", "-m tcp needs -p tcp"],
    ["-p udp -m tcp --dport 80", "-m tcp needs -p tcp"],
    ["! -p tcp -m tcp --dport 80", "-m tcp needs -p tcp"],
    ["-m multiport --dports 80", "-m multiport needs -p tcp or -p udp"],
    [
      "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14:15,16",
      "at most 15 ports, a range counting twice; these are 16",
    ],
    ["-p tcp -m multiport --dports 1,,2", "want ports 0-65535 and ranges"],
    ["-p tcp -m tcp --tcp-flags SYN,XXX SYN", "want two lists of FIN, SYN"],
    ["-p icmp -m icmp --icmp-type ping-pong", "want an ICMP type by name, type or type/code"],
    ["-m mark --mark 0x1ffffffff", "want value or value/mask"],
    ["-m conntrack --ctstate OLD", "want a list of INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED,SNAT,DNAT"],
    ["-m state --state SNAT", "want a list of INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED"],
    ["-m addrtype --src-type HOME", "want a list of LOCAL"],
    ["-m set --match-set X up", "up: want up to 6 of src, dst"],
    ["-m set --match-set X", "--match-set: wants 2 values"],
    ["-m conntrack", "-m conntrack: wants an option"],
    ["-m comment ! --comment x", "--comment cannot be negated"],
    ["-m", "-m: wants a value"],
    ["-j", "-j: wants a value"],
    ["! -j DROP", "-j cannot be negated"],
    ["-j DROP -j ACCEPT", "-j: stands more than once in a rule"],
    ["-j DROP -g POD-FW", "-g: stands more than once in a rule"],
    ["-j MARK --set-xmark mine", "--set-xmark mine: want value or value/mask"],
    ["-j REJECT --reject-with a-smile", "--reject-with a-smile: want one of icmp-net-unreachable"],
    ["-j POD-FW --set-xmark 1", "--set-xmark: no option of iptables"],
    ["--frobnicate 1", "--frobnicate: no option of iptables"],
    ["somewhere", "somewhere: unexpected here; want an option"],
    ["!", "nothing to negate after !"],
    ['-m comment --comment "open', "v4:6:33: error: a quote that is not closed"],
    ["-c 1 many", "-c 1 many: want two numbers"],
  ])("%s", (options, expected) => {
    const errors = errorsOf({ ipv4: filterSave(`-A FORWARD ${options}`) });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(expected);
  });

  it("all of them are reported at once", () => {
    expect(errorsOf({ ipv4: filterSave("-A FORWARD -s x", "-A FORWARD -j DROP", "-A INPUT -p 999") })).toEqual([
      expect.stringMatching(/^v4:6:15: error: filter FORWARD 1: -s x/),
      expect.stringMatching(/^v4:8:13: error: filter INPUT 1: -p 999/),
    ]);
  });
});

describe("the interfaces file", () => {
  const attachment = {
    uplink: "eth0",
    pods: [{ endpoint: "default/db", addresses: [], interface: "guess" }],
    remotePodAddresses: [],
    localAddresses: [],
  };

  it("overrides the names of the attachment", () => {
    const { program } = importTexts({ attachment, interfaces: ' {\n "default\\/db": "cali1"\n}\n' });
    expect(program?.attachment.pods[0]?.interface).toBe("cali1");
    expect(importTexts({ attachment, interfaces: "{}" }).program?.attachment).toEqual(attachment);
  });

  it("a pod that is not on the node is a warning", () => {
    expect(issuesOf({ attachment, interfaces: '{"default/db": "cali1",\n "x/y": "cali2"}' })).toEqual([
      expect.stringMatching(/^interfaces:2:2: warning: x\/y: no pod with an address on this node/),
    ]);
  });

  it.each([
    ["", "interfaces:1:1: error: want {"],
    ["[]", "interfaces:1:1: error: want {"],
    ['{"a/b": 1}', "interfaces:1:9: error: want an interface's name"],
    ['{"a/b": "x", }', 'interfaces:1:14: error: want "namespace/pod"'],
    ['{"a/b" "x"}', "interfaces:1:8: error: want :"],
    ['{"a/b": "x"\n"c/d": "y"}', "interfaces:2:1: error: want , or }"],
    ['{"a/b": "x", "a/b": "y"}', "a/b: named twice"],
    ['{"a/b": "x"} {}', "want nothing after }"],
    ['{"a/b": "sixteen-letters-"}', "want an interface's name, up to 15 characters"],
    ['{"a/\\q": "x"}', 'want "namespace/pod"'],
    ['{"a/b": "x"', "want , or }"],
  ])("%j", (interfaces, expected) => {
    expect(errorsOf({ attachment, interfaces })[0]).toContain(expected);
  });
});

describe("hostile text", () => {
  const MAX_MS = 1000;
  const rule = "-A FORWARD -m comment --comment x -j DROP\n";

  it.each<[string, () => Texts]>([
    ["30,000 rules", () => ({ ipv4: filterSave(rule.repeat(30_000)) })],
    ["30,000 wrong lines", () => ({ ipv4: filterSave("oops\n".repeat(30_000)) })],
    [
      "one rule of 200,000 words",
      () => ({ ipv4: filterSave(`-A FORWARD ${"-m conntrack --ctstate NEW ".repeat(200_000)}`) }),
    ],
    [
      "one rule of 200,000 unknown options",
      () => ({ ipv4: filterSave(`-A FORWARD -m x ${"--y z ".repeat(200_000)}`) }),
    ],
    [
      "one word of 3 MB",
      () => ({ ipv4: filterSave(`-A FORWARD -m comment --comment "${"a\\\\".repeat(1_000_000)}"`) }),
    ],
    ["3 MB of quotes", () => ({ ipv4: filterSave(`-A FORWARD ${'"'.repeat(3_000_000)}`) })],
    [
      "3 MB of blanks",
      () => ({ ipv4: filterSave(`-A FORWARD ${" ".repeat(3_000_000)}`), interfaces: " ".repeat(3_000_000) }),
    ],
    [
      "20,000 chains one below the other",
      () => {
        const chains = Array.from({ length: 20_000 }, (_, index) => `:C${index} - [0:0]`);
        const jumps = Array.from({ length: 19_999 }, (_, index) => `-A C${index} -j C${index + 1}`);
        return { ipv4: ["*filter", ...chains, ...jumps, "COMMIT", ""].join("\n") };
      },
    ],
    [
      "ranges of ports without end",
      () => {
        const lines = Array.from({ length: 200 }, (_, index) => `add S 10.0.0.${index},tcp:0-65535\n`);
        return { sets: `create S hash:ip,port\n${lines.join("")}` };
      },
    ],
    [
      "ranges of addresses without end",
      () => {
        const lines = Array.from({ length: 200 }, (_, index) => `add S 10.${index}.0.0/16\n`);
        return { sets: `create S hash:ip\n${lines.join("")}` };
      },
    ],
    [
      "30,000 interfaces",
      () => {
        const pods = Array.from({ length: 30_000 }, (_, index) => `"ns/p${index}": "i${index}"`);
        return { interfaces: `{${pods.join(",\n")}}` };
      },
    ],
  ])("%s end within a second", (_, make) => {
    const texts = make();
    // Of the processor's time: other work on the machine is not ours to answer for.
    const start = process.cpuUsage();
    importTexts(texts);
    const { user, system } = process.cpuUsage(start);
    expect((user + system) / 1000).toBeLessThan(MAX_MS);
  });

  it("issues are cut off, and counted", () => {
    const { issues } = importTexts({ ipv4: filterSave("oops\n".repeat(5000)) });
    expect(issues).toHaveLength(1001);
    expect(issues.at(-1)?.message).toContain("4000 more errors");
  });

  it("no message repeats a long word", () => {
    const long = "x".repeat(100_000);
    const lines = [`-A FORWARD -s ${long}`, `-A FORWARD -m ${long} --a b`, `-A FORWARD -j ${long}`, long];
    const messages = issuesOf({ ipv4: filterSave(...lines), sets: `create ${long} ${long}\n` });
    expect(messages.length).toBeGreaterThan(3);
    for (const message of messages) expect(message.length).toBeLessThan(400);
  });

  it("nothing that a save may hold makes the importer throw, and every issue has a place", () => {
    const word = fc.oneof(
      fc.constantFrom(
        "-A",
        "FORWARD",
        "-m",
        "tcp",
        "--dport",
        "80",
        "!",
        "-j",
        "set",
        "--match-set",
        "[unsupported",
        '"',
        "\\",
        "-s",
        "*filter",
        ":X",
        "-",
        "COMMIT",
        "add",
        "create",
        "S",
        "hash:ip",
        "10.0.0.1",
        "fd00::/8",
        "#",
        "--",
        "--=",
        "[1:2]",
      ),
      fc.string({ maxLength: 8, unit: "binary" }),
    );
    const line = fc.array(word, { maxLength: 12 }).map((words) => words.join(" "));
    const text = fc.array(line, { maxLength: 12 }).map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(text, text, text, (ipv4, sets, interfaces) => {
        const save = `*filter\n:FORWARD ACCEPT [0:0]\n${ipv4}\nCOMMIT\n`;
        for (const texts of [
          { ipv4: save, sets, interfaces },
          { ipv6: ipv4, sets: `create S hash:net,port\n${sets}` },
        ]) {
          for (const { line: number, column } of importTexts(texts).issues) {
            expect(number).toBeGreaterThan(0);
            expect(column).toBeGreaterThan(0);
          }
        }
      }),
      { numRuns: runsOf(500) },
    );
  });
});
