/** Deliberate mistakes in our own source, one line each, that the kernel judge must catch. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts to find are source
import type { SourceMutant } from "./mutantLoader.ts";

const MATCHES = "dataplane/tables/matches.ts";
const SETS = "dataplane/tables/ipset.ts";
const WALK = "dataplane/tables/walk.ts";
const WAYS = "dataplane/tables/ways.ts";

/** In what executes programs. */
export const EVALUATOR_MUTANTS: readonly SourceMutant[] = [
  {
    name: "a negated protocol is not",
    file: MATCHES,
    find: "return (packet.protocol === a) !== negate;",
    replace: "return packet.protocol === a;",
  },
  {
    name: "the last port of a range is outside",
    file: MATCHES,
    find: "(packet.destinationPort >= a && packet.destinationPort <= b)",
    replace: "(packet.destinationPort >= a && packet.destinationPort < b)",
  },
  {
    name: "--ports reads source ports only",
    file: MATCHES,
    find: "(this.#inRanges(packet.sourcePort, a, b) || this.#inRanges(packet.destinationPort, a, b))",
    replace: "this.#inRanges(packet.sourcePort, a, b)",
  },
  {
    name: "--tcp-flags looks at flags outside of its mask",
    file: MATCHES,
    find: "((packet.tcpFlags & a) === b)",
    replace: "(packet.tcpFlags === b)",
  },
  {
    name: "the code of an ICMP match is not read",
    file: MATCHES,
    find: "(b < 0 || packet.icmpCode === b)",
    replace: "true",
  },
  {
    name: "a mark match has no mask",
    file: MATCHES,
    find: "((packet.mark & b) === a)",
    replace: "(packet.mark === a)",
  },
  {
    name: "a packet without connection has a connection mark",
    file: MATCHES,
    find: "return packet.tracked && ((packet.connmark & b) === a) !== negate;",
    replace: "return ((packet.connmark & b) === a) !== negate;",
  },
  {
    name: "a negated --ctstate is not",
    file: MATCHES,
    find: "(((a >>> packet.ctState) & 1) === 1) !== negate",
    replace: "((a >>> packet.ctState) & 1) === 1",
  },
  {
    name: "--src-type asks for the destination",
    file: MATCHES,
    find: "const word0 = ofSource ? packet.source0 : packet.destination0;",
    replace: "const word0 = packet.destination0;",
  },
  {
    name: "physdev holds for packets that met no bridge",
    file: MATCHES,
    find: "return (asked & ~inverted) === 0;",
    replace: "return true;",
  },
  {
    name: "an IPv6 prefix ends after 96 bits",
    file: MATCHES,
    find: "(word3 & (words[at + 7] ?? 0)) === words[at + 3] &&",
    replace: "",
  },
  {
    name: "+ at the end of an interface name is a plus",
    file: "dataplane/devices.ts",
    find: 'pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern',
    replace: "name === pattern",
  },
  {
    name: "nomatch is a match",
    file: SETS,
    find: "member.nomatch === true ? EXCEPTION : MEMBER",
    replace: "MEMBER",
  },
  {
    name: "the widest prefix of a set decides",
    file: SETS,
    find: "Uint8Array.from(lengths).sort().reverse()",
    replace: "Uint8Array.from(lengths).sort()",
  },
  {
    name: "the second dimension of a set is always the destination",
    file: SETS,
    find: "sides & SECOND_IS_SOURCE ? packet.sourcePort : packet.destinationPort",
    replace: "packet.destinationPort",
  },
  {
    name: "the first dimension of a set is always the destination",
    file: SETS,
    find: "const word = isFirstSource(sides) ? packet.source0 : packet.destination0;",
    replace: "const word = packet.destination0;",
  },
  {
    name: "a set with ports forgets the protocol",
    file: SETS,
    find: "return (protocol << PROTOCOL_SHIFT) | (port << PORT_SHIFT);",
    replace: "return port << PORT_SHIFT;",
  },
  {
    name: "a list of sets is its first set",
    file: SETS,
    find: "for (const member of members) if (member.test(packet, sides)) return true;",
    replace: "for (const member of members) return member.test(packet, sides);",
  },
  {
    name: "RETURN ends the table, as ACCEPT does",
    file: WALK,
    find: "case ACTION.return:\n          slot = depth === 0 ?",
    replace: "case ACTION.return:\n          slot = depth >= 0 ?",
  },
  {
    name: "the end of a chain ends the table",
    file: WALK,
    find: "rules--;\n          slot = depth === 0 ?",
    replace: "rules--;\n          slot = depth >= 0 ?",
  },
  {
    name: "goto comes back",
    file: WALK,
    // The stack has room for jumps alone: whoever finds none left leaves no place, since a walk that lost one would not end.
    find: `stack[depth++] = slot + 1;
          slot = a[slot] ?? 0;
          this.#chains++;
          continue;
        case ACTION.goto: //`,
    replace: `if (depth < stack.length) stack[depth++] = slot + 1;
          slot = a[slot] ?? 0;
          this.#chains++;
          continue;
        case ACTION.goto:
          if (depth < stack.length) stack[depth++] = slot + 1; //`,
  },
  {
    name: "a mark is set over the old one without clearing it",
    file: WALK,
    find: "packet.mark = (packet.mark & ~(b[slot] ?? 0)) ^ (a[slot] ?? 0);",
    replace: "packet.mark = packet.mark ^ (a[slot] ?? 0);",
  },
  {
    name: "--set-xmark is an or",
    file: WALK,
    find: "packet.mark = (packet.mark & ~(b[slot] ?? 0)) ^ (a[slot] ?? 0);",
    replace: "packet.mark = (packet.mark & ~(b[slot] ?? 0)) | (a[slot] ?? 0);",
  },
  {
    name: "--restore-mark restores all bits",
    file: WALK,
    find: "packet.mark = (packet.mark & ~mask) ^ (packet.connmark & mask);",
    replace: "packet.mark = packet.connmark;",
  },
  {
    name: "a connection forgets its mark",
    file: WALK,
    find: "if (!this.#hasTemplate) this.#connections.mark = packet.connmark;",
    replace: "",
  },
  {
    name: "NOTRACK is ignored",
    file: WALK,
    find: "if (packet.ctState === CT_STATE_CODE.untracked) {",
    replace: "if (packet.ctState > CT_STATE_CODE.untracked) {",
  },
  {
    name: "all zones are one",
    file: WALK,
    find: "this.#connections.lookupCode(this.#batch, row, this.#zone)",
    replace: "this.#connections.lookupCode(this.#batch, row, 0)",
  },
  {
    name: "a dropped packet leaves a connection",
    file: WALK,
    find: "else this.#connections.abandon();",
    replace: "else this.#connections.confirm();",
  },
  {
    name: "packets of known connections walk the nat table",
    file: WALK,
    find: 'call.table === "nat" && !(this.#packet.tracked && this.#connections.isPending)',
    replace: "!this.#packet",
  },
  {
    name: "filter comes before mangle in FORWARD",
    file: WAYS,
    find: '["FORWARD", ["mangle", "filter", "security"]]',
    replace: '["FORWARD", ["filter", "mangle", "security"]]',
  },
  {
    name: "no packet has left its device behind in OUTPUT",
    file: WAYS,
    find: 'case "OUTPUT":\n      packet.inDevice = NO_DEVICE;',
    replace: 'case "OUTPUT":\n      packet.inDevice = packet.outDevice;',
  },
];

/** In what says programs as text. */
export const RENDERER_MUTANTS: readonly SourceMutant[] = [
  {
    name: "the negation of --match-set is lost",
    file: "compiler/render/ruleMatch.ts",
    find: 'return alone("set", `${not} --match-set',
    replace: 'return alone("set", ` --match-set',
  },
  {
    name: "marks are printed without their mask",
    file: "compiler/render/ruleMatch.ts",
    find: "return mask === 0xffffffff ?",
    replace: "return mask >= 0 ?",
  },
  {
    name: "src and dst of a set are exchanged",
    file: "compiler/render/ruleMatch.ts",
    find: 'return side === "source" ? "src" : "dst";',
    replace: 'return side === "source" ? "dst" : "src";',
  },
  {
    name: "a port range ends where it begins",
    file: "compiler/render/ruleMatch.ts",
    find: "? String(first) : `${first}:${last}`",
    replace: "? String(first) : `${first}`",
  },
  {
    name: "--tcp-flags compares with its mask",
    file: "compiler/render/ruleMatch.ts",
    find: "${flagList(match.mask)} ${flagList(match.compare)}",
    replace: "${flagList(match.mask)} ${flagList(match.mask)}",
  },
  {
    name: "the code of an ICMP match is not printed",
    file: "compiler/render/ruleMatch.ts",
    find: 'match.code === undefined ? "" : `/${match.code}`',
    replace: '""',
  },
  {
    name: "goto is printed as a jump",
    file: "compiler/render/ruleTarget.ts",
    find: "return ` -g ${",
    replace: "return ` -j ${",
  },
  {
    name: "MARK is printed with the mask of everything",
    file: "compiler/render/ruleTarget.ts",
    find: "return ` -j MARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;",
    replace: "return ` -j MARK --set-xmark ${hex(target.value)}/0xffffffff`;",
  },
  {
    name: "policies of chains are lost",
    file: "compiler/render/iptablesSave.ts",
    find: 'policy?.toUpperCase() ?? "-"',
    replace: 'policy?.replace(/.+/, "ACCEPT") ?? "-"',
  },
  {
    name: "-s and -d are exchanged",
    file: "compiler/render/iptablesSave.ts",
    find: 'match.side === "source" ? "-s" : "-d"',
    replace: 'match.side === "source" ? "-d" : "-s"',
  },
  {
    name: "nomatch is not printed",
    file: "compiler/render/ipsetSave.ts",
    find: 'member.nomatch === true ? " nomatch" : ""',
    replace: 'member.nomatch === true ? "" : ""',
  },
  {
    name: "members of sets lose their prefix length",
    file: "compiler/render/ipsetSave.ts",
    find: "? formatAddress(cidr) : formatCidr(cidr)",
    replace: "? formatAddress(cidr) : formatAddress(cidr)",
  },
];

/** In what a strategy makes of policies; `strategy` is the one that shows it. */
export const STRATEGY_MUTANTS: readonly (SourceMutant & { readonly strategy: string })[] = [
  {
    strategy: "kube-router",
    name: "pods without egress policy are not opened",
    file: "compiler/strategies/kube-router/pods.ts",
    find: '...openTo("egress"),',
    replace: "",
  },
  {
    strategy: "kube-router",
    name: "the mark of one pod's chain lives on in the next",
    file: "compiler/strategies/kube-router/pods.ts",
    find: "{ matches: [], target: setMark(0, ALLOWED_MARK) },",
    replace: "",
  },
  {
    strategy: "kube-router",
    name: "what is refused is dropped without a word",
    file: "compiler/strategies/kube-router/pods.ts",
    find: 'target: { kind: "reject", with: REJECT_WITH[family] }',
    replace: 'target: { kind: "drop" }',
  },
  {
    strategy: "kube-router",
    name: "endPort is forgotten",
    file: "compiler/strategies/kube-router/policies.ts",
    find: '"endPort" in entry.port ? entry.port.endPort : undefined',
    replace: "undefined",
  },
  {
    strategy: "kube-router",
    name: "source and destination sets are exchanged",
    file: "compiler/strategies/kube-router/policies.ts",
    find: 'direction === "ingress" ? [peers, target] : [target, peers];',
    replace: "[target, peers];",
  },
  {
    strategy: "kube-router",
    name: "excepts are part of their block",
    file: "compiler/strategies/kube-router/policies.ts",
    find: "...(nomatch && { nomatch })",
    replace: "",
  },
  {
    strategy: "weave-net",
    name: "excepts are part of their block",
    file: "compiler/strategies/weave-net/analyse.ts",
    find: 'kind: "set", set: spec.set, sides: [side], negate: true',
    replace: 'kind: "set", set: spec.set, sides: [side], negate: false',
  },
];

/** In connection tracking. */
export const CONNTRACK_MUTANTS: readonly SourceMutant[] = [
  {
    name: "the timeout of SYN_SENT is doubled",
    file: "dataplane/conntrack/options.ts",
    find: "synSent: 120,",
    replace: "synSent: 240,",
  },
  {
    name: "a SYN-ACK opens a connection",
    file: "dataplane/conntrack/tcp.ts",
    find: '/* syn-ack */ "   -- -- SR --',
    replace: '/* syn-ack */ "   SS -- SR --',
  },
  {
    name: "a RST to an unanswered SYN leaves the entry",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (segment === SEGMENT.rst) return OUTCOME.destroy;",
    replace: "",
  },
  {
    name: "every SYN re-opens a closed tuple",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (newState === TCP_STATE.synSent && mayReopen(flow)) return OUTCOME.restart;",
    replace: "if (newState === TCP_STATE.synSent) return OUTCOME.restart;",
  },
  {
    name: "no segment is out of window",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (window === IN_WINDOW.invalid) {",
    replace: "if (window === undefined) {",
  },
  {
    name: "a RST below what was acknowledged is believed",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (before(sequence, acknowledged) && !flow.settings.tcpIgnoreInvalidRst) return RESET.invalid;",
    replace: "",
  },
  {
    name: "flags that no stack sends together are fine",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (segment === SEGMENT.impossible) return invalid(",
    replace: "if (segment > 99) return invalid(",
  },
  {
    name: "a connection is never assured",
    file: "dataplane/conntrack/tcp.ts",
    find: "if (oldState === TCP_STATE.synRecv || oldState === TCP_STATE.established) addStatus(flow, STATUS.assured);",
    replace: "",
  },
  {
    name: "a UDP-Lite answer makes no stream",
    file: "dataplane/conntrack/udp.ts",
    find: "if (answered) addStatus(flow, STATUS.assured);",
    replace: "",
  },
  {
    name: "an ICMP answer needs no question",
    file: "dataplane/conntrack/icmp.ts",
    find: "if (!ICMP_QUESTIONS.has(originalType(flow))) return",
    replace: "if (!flow) return",
  },
  {
    name: "an ICMP error may go to anybody",
    file: "dataplane/conntrack.ts",
    find: "if (!goesTo(batch, row, quoted.source)) {",
    replace: "if (!quoted.source) {",
  },
  {
    name: "SCTP verification tags are not read",
    file: "dataplane/conntrack/sctp.ts",
    find: 'if (tag !== words[own]) return invalid(flow, "wrong verification tag");',
    replace: "",
  },
  {
    name: "an INIT may carry a verification tag",
    file: "dataplane/conntrack/sctp.ts",
    find: 'if (tag !== 0) return invalid(flow, "INIT with a verification tag");',
    replace: "",
  },
];
