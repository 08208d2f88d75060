import { describe, expect, it } from "vitest";
import { parseCidr } from "../../dataplane/address.ts";
import { PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Match, Target } from "../../dataplane/program.ts";
import { chainOf, filterSave, importTexts, issuesOf, programOf, ruleOf } from "./importing.ts";

function matchesOf(options: string): readonly Match[] {
  return ruleOf(options).matches;
}

/** The only match beside the protocol. */
function matchOf(options: string): Match | undefined {
  const matches = matchesOf(options).filter(({ kind }) => kind !== "protocol");
  expect(matches.length).toBeLessThan(2);
  return matches[0];
}

function cidr(text: string) {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

describe("the options of iptables itself", () => {
  it("addresses, interfaces, protocols and fragments read as they stand", () => {
    expect(matchesOf("-s 10.0.0.0/8 ! -d 192.168.5.10/32 -i cali+ ! -o eth0 -p tcp ! -f -j ACCEPT")).toEqual([
      { kind: "address", side: "source", cidr: cidr("10.0.0.0/8"), negate: false },
      { kind: "address", side: "destination", cidr: cidr("192.168.5.10/32"), negate: true },
      { kind: "interface", side: "in", name: "cali+", negate: false },
      { kind: "interface", side: "out", name: "eth0", negate: true },
      { kind: "protocol", protocol: PROTOCOL.tcp, negate: false },
      { kind: "fragment", negate: true },
    ]);
  });

  it.each([
    ["-s 10.1.2.3/255.0.0.0", "-s 10.0.0.0/8"],
    ["-s 10.1.2.3/8", "-s 10.0.0.0/8"],
    ["-s 10.1.2.3", "-s 10.1.2.3/32"],
    ["-s ! 10.0.0.0/8", "! -s 10.0.0.0/8"],
    ["--source 10.0.0.0/8 --in-interface eth0 --jump DROP", "-s 10.0.0.0/8 -i eth0 -j DROP"],
    ["-p TCP", "-p 6 -s 0.0.0.0/0"],
    ["-p ipv6-icmp", "-p 58"],
    ["-p all", ""],
    ["-p tcp --dport 80", "-p tcp -m tcp --dport 80"],
    ["-p tcp --destination-port=80", "-p tcp -m tcp --dport 80"],
    ["-p tcp -m tcp --dport ! 80", "-p tcp -m tcp ! --dport 80"],
    ["-p tcp -m tcp --dport :80", "-p tcp -m tcp --dport 0:80"],
    ["-p tcp -m tcp --dport 1024:", "-p tcp -m tcp --dport 1024:65535"],
    ["-p tcp --syn", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"],
    ["-p tcp -m tcp --tcp-flags ALL NONE", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE"],
    ["-p udp -m multiport --destination-ports 80,90:95", "-p udp -m multiport --dports 80,90:95"],
    ["-p icmp --icmp-type echo-request", "-p icmp -m icmp --icmp-type 8"],
    ["-p icmp -m icmp --icmp-type fragmentation-needed", "-p icmp -m icmp --icmp-type 3/4"],
    ["-m mark --mark 0x10", "-m mark --mark 16/0xffffffff"],
    ["-m mark --mark 010", "-m mark --mark 8"],
    ["-m limit --limit 10/minute --limit-burst 5", "-m limit --limit 10/min"],
    ["-m set --set POOL src", "-m set --match-set POOL src"],
    ["-j MARK --set-mark 0x10000/0x10000", "-j MARK --set-xmark 0x10000/0x10000"],
    ["-j MARK --set-mark 0/0x10000", "-j MARK --set-xmark 0x0/0x10000"],
    ["-j MARK --set-mark 3/0x1", "-j MARK --set-xmark 0x3/0x3"],
    ["-j MARK --or-mark 0x8000", "-j MARK --set-xmark 0x8000/0x8000"],
    ["-j MARK --and-mark 0xff", "-j MARK --set-xmark 0x0/0xffffff00"],
    ["-j MARK --xor-mark 3", "-j MARK --set-xmark 0x3/0x0"],
    ["-j CONNMARK --set-mark 1/2", "-j CONNMARK --set-xmark 0x1/0x3"],
    ["-j CONNMARK --save-mark", "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"],
    ["-j CONNMARK --restore-mark --mask 0xff", "-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff"],
    ["-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"],
    ["-j REJECT --reject-with admin-prohib", "-j REJECT --reject-with icmp-admin-prohibited"],
    ["-j NFLOG --nflog-group 1 -m limit --limit 1/s", "-m limit --limit 1/sec -j NFLOG --nflog-group 1"],
    ["-m comment --comment one -j ACCEPT", '-m comment --comment "one" -j ACCEPT'],
  ])("%s says what %s says", (older, printed) => {
    const sets = "create POOL hash:ip\n";
    expect(ruleOf(older, sets)).toEqual(ruleOf(printed, sets));
  });

  it("counters stand before the rule or in it", () => {
    const program = programOf({ ipv4: filterSave("[12:3456] -A FORWARD -j ACCEPT", "-A FORWARD -c 1 2 -j ACCEPT") });
    expect(chainOf(program, "FORWARD").rules.map(({ counters }) => counters)).toEqual([
      [12, 3456],
      [1, 2],
    ]);
  });

  it("a comment is unescaped as iptables-restore does it", () => {
    const text = (options: string) => matchOf(options);
    expect(text(String.raw`-m comment --comment "say \"no\", it\'s \\ back"`)).toEqual({
      kind: "comment",
      text: String.raw`say "no", it's \ back`,
    });
    expect(text("-m comment --comment -j -j ACCEPT")).toEqual({ kind: "comment", text: "-j" });
    expect(text('-m comment --comment ""')).toEqual({ kind: "comment", text: "" });
  });
});

describe("match modules", () => {
  it.each<[string, Match]>([
    [
      "-p tcp -m tcp ! --sport 1:5",
      { kind: "ports", side: "source", ranges: [{ first: 1, last: 5 }], extension: "tcp", negate: true },
    ],
    [
      "-p sctp -m multiport ! --ports 1,2,3:4",
      {
        kind: "ports",
        side: "either",
        ranges: [
          { first: 1, last: 1 },
          { first: 2, last: 2 },
          { first: 3, last: 4 },
        ],
        extension: "multiport",
        negate: true,
      },
    ],
    // What the save commands print for --dport 0:65535
    [
      "-p udp -m udp",
      { kind: "ports", side: "destination", ranges: [{ first: 0, last: 65_535 }], extension: "udp", negate: false },
    ],
    [
      "-p tcp -m tcp ! --tcp-flags SYN,ACK SYN",
      { kind: "tcpFlags", mask: TCP_FLAG.S | TCP_FLAG.A, compare: TCP_FLAG.S, negate: true },
    ],
    ["-p icmp -m icmp --icmp-type any", { kind: "icmp", family: 4, type: 255, negate: false }],
    ["-p icmp -m icmp ! --icmp-type 8/0", { kind: "icmp", family: 4, type: 8, code: 0, negate: true }],
    ["-m mark ! --mark 0x10000/0x10000", { kind: "mark", value: 0x10000, mask: 0x10000, negate: true }],
    ["-m connmark --mark 0x1", { kind: "connmark", value: 1, mask: 0xffff_ffff, negate: false }],
    [
      "-m conntrack ! --ctstate RELATED,ESTABLISHED",
      { kind: "ctState", states: ["related", "established"], extension: "conntrack", negate: true },
    ],
    [
      "-m conntrack --ctstate NEW,SNAT,DNAT,UNTRACKED",
      { kind: "ctState", states: ["new", "snat", "dnat", "untracked"], extension: "conntrack", negate: false },
    ],
    ["-m state --state INVALID", { kind: "ctState", states: ["invalid"], extension: "state", negate: false }],
    ["-m addrtype ! --src-type LOCAL", { kind: "addressType", side: "source", type: "LOCAL", negate: true }],
    [
      "-m physdev ! --physdev-in eth+ --physdev-is-bridged",
      { kind: "physdev", in: { name: "eth+", negate: true }, isBridged: true },
    ],
    [
      "-m physdev --physdev-out vethwe-bridge --physdev-is-out ! --physdev-is-bridged",
      { kind: "physdev", out: { name: "vethwe-bridge", negate: false }, isOut: true, isBridged: false },
    ],
    ["-m limit --limit 10/min --limit-burst 10", { kind: "limit", rate: "10/min", burst: 10 }],
    ["-m rpfilter --loose --invert", { kind: "rpfilter", loose: true, validMark: false, invert: true }],
  ])("%s", (options, expected) => {
    expect(matchOf(options)).toEqual(expected);
  });

  it("ICMPv6 types are those of icmp6", () => {
    const save = filterSave(
      "-A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128",
      "-A FORWARD -p icmpv6 --icmpv6-type neighbour-solicitation",
    );
    const types = chainOf(programOf({ ipv6: save }), "FORWARD").rules.map(({ matches }) => matches[1]);
    expect(types).toEqual([
      { kind: "icmp", family: 6, type: 128, negate: false },
      { kind: "icmp", family: 6, type: 135, negate: false },
    ]);
  });

  it("a set is matched by as many sides as it stands for", () => {
    const sets = "create weave-;rGqyMIl1HN^cfDki~Z$3]6!N hash:ip,port\n";
    expect(ruleOf("-m set ! --match-set weave-;rGqyMIl1HN^cfDki~Z$3]6!N dst,src -j DROP", sets).matches).toEqual([
      { kind: "set", set: "weave-;rGqyMIl1HN^cfDki~Z$3]6!N", sides: ["destination", "source"], negate: true },
    ]);
  });
});

describe("targets", () => {
  const target = (options: string) => ruleOf(options).target;

  it.each<[string, Target | undefined]>([
    ["", undefined],
    ["-j ACCEPT", { kind: "accept" }],
    ["-j DROP", { kind: "drop" }],
    ["-j RETURN", { kind: "return" }],
    ["-j POD-FW", { kind: "jump", chain: "POD-FW" }],
    ["-g POD-FW", { kind: "goto", chain: "POD-FW" }],
    ["-p tcp -j REJECT --reject-with tcp-reset", { kind: "reject", with: "tcp-reset" }],
    ["-j MARK --set-xmark 0x10000/0x10000", { kind: "mark", value: 0x10000, mask: 0x10000 }],
    ["-j NFLOG --nflog-group 100", { kind: "log", target: "NFLOG", text: "--nflog-group 100" }],
    ['-j LOG --log-prefix "a \\" b"', { kind: "log", target: "LOG", text: '--log-prefix "a \\" b"' }],
    ["-j TCPMSS --clamp-mss-to-pmtu", { kind: "log", target: "TCPMSS", text: "--clamp-mss-to-pmtu" }],
    ["-j TRACE", { kind: "log", target: "TRACE", text: "" }],
    [
      "-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf",
      { kind: "connmark", operation: "restore", value: 0, mask: 15 },
    ],
    ["-j CT --notrack", { kind: "notrack" }],
    ["-j NOTRACK", { kind: "notrack" }],
    ["-j CT --zone 5", { kind: "ctZone", zone: 5 }],
    ["-j MASQUERADE --random-fully", { kind: "nat", target: "MASQUERADE", text: "--random-fully" }],
    [
      "-p tcp -j DNAT --to-destination 10.0.0.1:80",
      { kind: "nat", target: "DNAT", text: "--to-destination 10.0.0.1:80" },
    ],
  ])("%s", (options, expected) => {
    expect(target(options)).toEqual(expected);
  });

  it("a bare REJECT of ip6tables is ICMPv6", () => {
    const [rule] = chainOf(programOf({ ipv6: filterSave("-A FORWARD -j REJECT") }), "FORWARD").rules;
    expect(rule?.target).toEqual({ kind: "reject", with: "icmp6-port-unreachable" });
  });
});

describe("what the instruction set cannot say", () => {
  it.each([
    [
      "-m statistic --mode random --probability 0.50000000000",
      'opaque "-m statistic --mode random --probability 0.50000000000"',
    ],
    ["-m recent --set --name x --rsource", 'opaque "-m recent --set --name x --rsource"'],
    ['-m string ! --string "a b" --algo bm', 'opaque "-m string ! --string "a b" --algo bm"'],
    ["-m conntrack --ctdir ORIGINAL", 'opaque "-m conntrack --ctdir ORIGINAL"'],
    ["-m addrtype --dst-type LOCAL --limit-iface-in", 'opaque "-m addrtype --dst-type LOCAL --limit-iface-in"'],
    ["-m addrtype --dst-type LOCAL,BROADCAST", 'opaque "-m addrtype --dst-type LOCAL,BROADCAST"'],
    ["-s 10.0.0.1/255.0.255.0", 'opaque "-s 10.0.0.1/255.0.255.0"'],
    ["-s 10.0.0.1,10.0.0.2", 'opaque "-s 10.0.0.1,10.0.0.2"'],
    ["-p tcp -m tcp --dport http", 'opaque "-m tcp --dport http"'],
    ["-p sctp -m sctp --chunk-types any INIT", 'opaque "-m sctp --chunk-types any INIT"'],
    ["-m rpfilter --accept-local", 'opaque "-m rpfilter --accept-local"'],
    ["-m limit --limit 1/sec", 'opaque "-m limit --limit 1/sec"'],
    ["-m set --match-set GONE src", 'opaque "-m set --match-set GONE src"'],
    ["-m set --match-set BITS dst", 'opaque "-m set --match-set BITS dst"'],
    ["-m set --match-set POOL src --return-nomatch", 'opaque "-m set --match-set POOL src --return-nomatch"'],
    ["-m conntrack [unsupported revision]", 'opaque "-m conntrack [unsupported revision]"'],
  ])("%s stays as an opaque match, with a warning where it stands", (options, expected) => {
    const sets = "create POOL hash:net\ncreate BITS bitmap:port range 0-65535\n";
    const save = filterSave("-A FORWARD -j POD-FW", `-A FORWARD -m mark --mark 1 ${options} -j DROP`);
    const { program, issues } = importTexts({ ipv4: save, sets });
    const [, rule] = program === undefined ? [] : chainOf(program, "FORWARD").rules;
    const opaque = rule?.matches.find(({ kind }) => kind === "opaque");
    expect(opaque?.kind === "opaque" && `opaque "${opaque.text}"`).toBe(expected);
    // The rest of the rule still asks what it asks.
    expect(rule?.matches[0]).toEqual({ kind: "mark", value: 1, mask: 0xffff_ffff, negate: false });
    expect(rule?.target).toEqual({ kind: "drop" });
    const about = issues.filter(({ line, file }) => (file === "v4" ? line === 7 : line === 2));
    expect(about.map(({ severity }) => severity)).toContain("warning");
    expect(about.every(({ column }) => column > 1)).toBe(true);
  });

  it.each([
    ["-j NFQUEUE --queue-num 1", "-j NFQUEUE --queue-num 1"],
    ["-j SET --add-set POOL src", "-j SET --add-set POOL src"],
    ["-j CT --helper ftp", "-j CT --helper ftp"],
    ["-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf0", "-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf0"],
    ["-j REJECT [unsupported revision]", "-j REJECT [unsupported revision]"],
    ["-p tcp -j TPROXY --on-port 1 --on-ip 127.0.0.1", "-j TPROXY --on-port 1 --on-ip 127.0.0.1"],
  ])("%s stays as an opaque target, with a warning where it stands", (options, text) => {
    expect(ruleOf(options).target).toEqual({ kind: "opaque", text });
    expect(issuesOf({ ipv4: filterSave(`-A FORWARD ${options}`) })).toEqual([
      expect.stringMatching(/^v4:6:\d+: warning: filter FORWARD 1: -j \S+.*: not represented; /),
    ]);
  });

  it("a rate limit on a rule that only logs is no warning", () => {
    expect(issuesOf({ ipv4: filterSave("-A FORWARD -m limit --limit 1/sec -j LOG") })).toEqual([]);
  });

  it("a set that no save holds is warned of once", () => {
    const rule = "-A FORWARD -m set --match-set GONE src -j DROP";
    expect(issuesOf({ ipv4: filterSave(rule, rule) })).toEqual([
      expect.stringMatching(/^v4:6:31: warning: set GONE is in no ipset save given/),
    ]);
  });
});

describe("tables", () => {
  it("the nft variant's save reads like the legacy one's", () => {
    const legacy = filterSave("-A FORWARD -p tcp -m tcp --dport 80 -j POD-FW");
    const nft = `# Generated by iptables-nft-save v1.8.9 (nf_tables) on Tue Nov 24 12:55:49 2026\n${legacy.replace(":INPUT ACCEPT [0:0]\n", "")}# Completed on Tue Nov 24 12:55:49 2026\n`;
    expect(programOf({ ipv4: nft })).toEqual(programOf({ ipv4: legacy }));
  });

  it("line ends of other systems and a byte order mark change nothing", () => {
    const save = filterSave("-A FORWARD -j POD-FW");
    expect(programOf({ ipv4: `\uFEFF${save.replaceAll("\n", "\r\n")}` })).toEqual(programOf({ ipv4: save }));
  });

  it("tables of the other variant beside these are warned of", () => {
    const warning = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n";
    expect(issuesOf({ ipv4: filterSave() + warning })).toEqual([
      expect.stringMatching(/^v4:7:1: warning: the node also has tables of the legacy variant/),
    ]);
  });

  it("a table that iptables cannot print is opaque in every chain", () => {
    const { program, issues } = importTexts({ ipv4: "# Table `mangle' is incompatible, use 'nft' tool.\n" });
    expect(issues.map(({ severity }) => severity)).toEqual(["warning"]);
    expect(program?.families[0]?.tables[0]?.chains.map(({ rules }) => rules[0]?.target?.kind)).toEqual(
      Array(5).fill("opaque"),
    );
  });

  it("policies and the order of chains are kept, built-in chains first", () => {
    const save = "*filter\n:B - [0:0]\n:FORWARD DROP [1:2]\n:A - [0:0]\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
    const chains = programOf({ ipv4: save }).families[0]?.tables[0]?.chains;
    expect(chains?.map(({ name, policy }) => `${name} ${policy}`)).toEqual([
      "INPUT accept",
      "FORWARD drop",
      "OUTPUT accept",
      "B undefined",
      "A undefined",
    ]);
  });

  it("an empty save is a node without tables", () => {
    expect(programOf({ ipv4: "", ipv6: "# nothing\n\n" }).families).toEqual([
      { family: 4, tables: [] },
      { family: 6, tables: [] },
    ]);
  });
});
