import { describe, expect, it } from "vitest";
import { formatCidr } from "../../dataplane/address.ts";
import { protocolName } from "../../dataplane/packet.ts";
import type { IPSetMember } from "../../dataplane/program.ts";
import { chainOf, filterSave, importTexts, issuesOf, programOf, setOf } from "./importing.ts";

function show(member: IPSetMember): string {
  if (member.kind === "set") return member.set;
  const nomatch = member.nomatch === true ? " nomatch" : "";
  const port = member.kind === "netPort" ? `,${protocolName(member.protocol)}:${member.port}` : "";
  return `${formatCidr(member.cidr)}${port}${nomatch}`;
}

/** The members of set S after these lines. */
function membersOf(...lines: readonly string[]): readonly string[] {
  return setOf(`${lines.join("\n")}\n`, "S").members.map(show);
}

describe("sets", () => {
  it("are created with all that ipset save prints of them", () => {
    const create =
      "create S hash:ip family inet6 hashsize 64 maxelem 1048576 timeout 0 counters comment skbinfo forceadd bucketsize 12 initval 0x7b09aff1\n";
    expect(setOf(create, "S")).toEqual({
      name: "S",
      type: "hash:ip",
      family: 6,
      members: [],
      options: { hashSize: 64, maxElements: 1_048_576, timeoutSeconds: 0, counters: true, comment: true },
    });
  });

  it("are IPv4 where nothing says otherwise, as older ipset printed them", () => {
    expect(setOf("create S hash:ip timeout 0\n", "S").family).toBe(4);
  });

  it("have names with all signs that are no white space", () => {
    const name = "weave-;rGqyMIl1HN^cfDki~Z$3]6!N";
    expect(
      setOf(`create ${name} hash:ip\nadd ${name} 10.0.0.1 comment "namespace: default, pod: db"\n`, name).members,
    ).toEqual([expect.objectContaining({ kind: "net", comment: "namespace: default, pod: db" })]);
  });

  it("an empty list is of the family of the rules that name it", () => {
    const rule = filterSave("-A FORWARD -m set --match-set S src -j DROP");
    expect(programOf({ sets: "create S list:set size 8\n", ipv6: rule }).sets[0]?.family).toBe(6);
    expect(programOf({ sets: "create S list:set size 8\n", ipv4: rule }).sets[0]?.family).toBe(4);
  });

  it("a list is of the family of its sets", () => {
    const sets = "create A hash:ip family inet6\ncreate S list:set size 8\nadd S A\n";
    expect(setOf(sets, "S")).toMatchObject({ family: 6, members: [{ kind: "set", set: "A" }] });
  });
});

describe("entries", () => {
  it.each([
    [["create S hash:ip", "add S 10.0.0.1 timeout 0"], ["10.0.0.1/32"]],
    [
      ["create S hash:ip", "add S 10.0.0.0-10.0.0.2"],
      ["10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/32"],
    ],
    [
      ["create S hash:ip", "add S 10.0.0.254/31"],
      ["10.0.0.254/32", "10.0.0.255/32"],
    ],
    [["create S hash:ip netmask 24", "add S 10.0.0.0"], ["10.0.0.0/24"]],
    [["create S hash:ip family inet6", "add S fd00::1"], ["fd00::1/128"]],
    [
      ["create S hash:net", "add S 10.0.0.1-10.0.0.6"],
      ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"],
    ],
    [["create S hash:net", "add S 0.0.0.1-255.255.255.255"], expect.arrayContaining(["0.0.0.1/32", "128.0.0.0/1"])],
    [
      ["create S hash:net", "add S 10.1.2.3/8", "add S 10.1.0.0/16 nomatch"],
      ["10.0.0.0/8", "10.1.0.0/16 nomatch"],
    ],
    [["create S hash:net family inet6", "add S fd00::/64 timeout 0 nomatch"], ["fd00::/64 nomatch"]],
    [
      ["create S hash:ip,port", "add S 10.0.0.1,tcp:80", "add S 10.0.0.1,sctp:80"],
      ["10.0.0.1/32,tcp:80", "10.0.0.1/32,sctp:80"],
    ],
    [
      ["create S hash:ip,port", "add S 10.0.0.1,udp:80-82"],
      ["10.0.0.1/32,udp:80", "10.0.0.1/32,udp:81", "10.0.0.1/32,udp:82"],
    ],
    [["create S hash:ip,port", "add S 10.0.0.1,90"], ["10.0.0.1/32,tcp:90"]],
    // The kernel keeps type and code where other protocols have the port.
    [["create S hash:ip,port", "add S 10.0.0.1,icmp:echo-request"], ["10.0.0.1/32,icmp:2048"]],
    [["create S hash:ip,port", "add S 10.0.0.1,icmp:8/3"], ["10.0.0.1/32,icmp:2051"]],
    [
      ["create S hash:ip,port family inet6", "add S fd00::1,ipv6-icmp:neighbour-solicitation"],
      ["fd00::1/128,icmpv6:34560"],
    ],
    [["create S hash:ip,port", "add S 10.0.0.1,gre:0"], ["10.0.0.1/32,gre:0"]],
    [["create S hash:net,port", "add S 10.0.0.0/8,tcp:80 nomatch"], ["10.0.0.0/8,tcp:80 nomatch"]],
    [["create A hash:ip", "create S list:set size 1024 comment", 'add S A comment "ns"'], ["A"]],
  ])("%s", (lines, members) => {
    expect(membersOf(...lines)).toEqual(members);
  });

  it("that expire count as there, with one warning a set", () => {
    const sets = "create S hash:ip timeout 300\nadd S 10.0.0.1 timeout 299\nadd S 10.0.0.2 timeout 17\n";
    expect(setOf(sets, "S").members).toHaveLength(2);
    expect(issuesOf({ sets })).toEqual([expect.stringMatching(/^sets:2:16: warning: entries of S expire/)]);
  });

  it("counters and marks beside an entry are left out", () => {
    const line = 'add S 10.0.0.1 packets 4 bytes 5 comment "x y" skbmark 0x10/0xff skbprio 1:2 skbqueue 3';
    expect(setOf(`create S hash:ip counters comment skbinfo\n${line}\n`, "S").members).toEqual([
      expect.objectContaining({ comment: "x y" }),
    ]);
  });
});

describe("sets that the instruction set lacks", () => {
  it.each([
    "bitmap:port range 0-65535",
    "hash:mac",
    "hash:net,net",
    "hash:net,iface",
    "hash:ip,port,ip",
    "hash:ip bitmask 255.0.255.0",
  ])("%s makes the rules that ask it opaque, and nothing else", (type) => {
    const sets = `create OK hash:ip\ncreate S ${type}\nadd S whatever\nadd OK 10.0.0.1\n`;
    const save = filterSave(
      "-A FORWARD -m set --match-set OK src -j DROP",
      "-A FORWARD -m set --match-set S src -j DROP",
    );
    const { program, issues } = importTexts({ sets, ipv4: save });
    const rules = program === undefined ? [] : chainOf(program, "FORWARD").rules;
    expect(rules.map(({ matches }) => matches[0]?.kind)).toEqual(["set", "opaque"]);
    expect(issues).toEqual([expect.objectContaining({ severity: "warning", file: "sets", line: 2 })]);
  });

  it("a list of one of them is one of them", () => {
    const sets = "create S hash:mac\ncreate L list:set\nadd L S\n";
    const save = filterSave("-A FORWARD -m set --match-set L src -j DROP");
    const { program } = importTexts({ sets, ipv4: save });
    expect(program && chainOf(program, "FORWARD").rules[0]?.matches[0]?.kind).toBe("opaque");
  });
});

describe("sets that no kernel held", () => {
  it.each([
    ["create S hash:ip\ncreate S hash:ip\n", "sets:2:8: error: S: created twice"],
    ["create S hash:nothing\n", "sets:1:10: error: hash:nothing: no type of ipset"],
    ["create S\n", "sets:1:1: error: create wants a name and a type"],
    ["create S hash:ip family inet5\n", "sets:1:25: error: family: want inet or inet6"],
    ["create S hash:ip maxelem many\n", "sets:1:26: error: maxelem: want a number up to 4294967295"],
    [`create ${"x".repeat(32)} hash:ip\n`, "is longer than 31 bytes"],
    ["create A hash:ip\nadd S 10.0.0.1\n", "sets:2:5: error: S: no set of this name was created before"],
    ["create S hash:ip\nadd S\n", "sets:2:1: error: add wants a set and an entry"],
    ["create S hash:ip\nadd S 10.0.0.256\n", "sets:2:7: error: 10.0.0.256: want an IPv4 address"],
    ["create S hash:ip\nadd S fd00::1\n", "sets:2:7: error: fd00::1: want an IPv4 address"],
    ["create S hash:ip\nadd S 0.0.0.0\n", "sets:2:7: error: 0.0.0.0: want an IPv4 address"],
    ["create S hash:net\nadd S 0.0.0.0/0\n", "sets:2:7: error: 0.0.0.0/0: want an IPv4 prefix of length 1 or more"],
    ["create S hash:net\nadd S 10.0.0.9-10.0.0.1\n", "want an IPv4 prefix"],
    ["create S hash:ip,port\nadd S 10.0.0.1\n", "want an IPv4 address,protocol:port"],
    ["create S hash:ip,port\nadd S 10.0.0.1,tcp:http\n", "want an IPv4 address,protocol:port"],
    ["create S hash:ip,port\nadd S 10.0.0.1,gre:5\n", "want an IPv4 address,protocol:port"],
    ["create S hash:ip\nadd S 10.0.0.1\nadd S 10.0.0.1\n", "sets:3:7: error: 10.0.0.1: already in S"],
    ["create S hash:ip\nadd S 10.0.0.1 nomatch\n", "sets:2:7: error: nomatch: a hash:ip set has no exceptions"],
    ["create S hash:ip\nadd S 10.0.0.1 colour red\n", "sets:2:16: error: colour: want one of timeout, packets"],
    ['create S hash:ip\nadd S 10.0.0.1 comment "open\n', "sets:2:24: error: a quote that is not closed"],
    ["create S hash:ip\nadd S 0.0.0.1-255.255.255.255\n", "want no wide range"],
    ["create S list:set\nadd S GONE\n", "sets:2:7: error: GONE: want the name of a set created before"],
    ["create L list:set\ncreate S list:set\nadd S L\n", "sets:3:7: error: L: want a set that is no list:set"],
    ["create S hash:ip\nflush S\n", "sets:2:1: error: flush: want create or add"],
    ["*filter\n", "sets:1:1: error: *filter: want the output of ipset save"],
  ])("%j", (sets, expected) => {
    const { program } = importTexts({ sets });
    expect(program).toBeUndefined();
    expect(issuesOf({ sets }).join("\n")).toContain(expected);
  });
});
