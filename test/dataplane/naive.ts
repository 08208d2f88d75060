/**
 * A second, obviously simple meaning of table programs: objects and strings, recursion, no columns, nothing shared with
 * dataplane/tables. Connection tracking is taken as given: the state of a packet and its connection's mark are inputs.
 */
import { type Cidr, compareAddresses, type Family, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type {
  Attachment,
  Chain,
  DeviceTest,
  Hook,
  IPSet,
  IPSetMember,
  Match,
  PortRange,
  Rule,
  Side,
  TableName,
  TableProgram,
} from "../../dataplane/program.ts";
import type { WalkEntry } from "../../dataplane/result.ts";
import type { CtState, Verdict } from "../../dataplane/verdict.ts";

export interface NaiveDevices {
  readonly path: "forward" | "input" | "output";
  readonly in: string;
  readonly out: string;
  readonly physIn: string;
  readonly physOut: string;
}

export interface NaiveInput {
  readonly packet: Packet;
  readonly devices: NaiveDevices;
  readonly mark: number;
  /** What connection tracking will say, unless a rule says NOTRACK. */
  readonly state: CtState;
  readonly connmark: number;
  /** Whether the packet makes a new entry. */
  readonly isPending: boolean;
}

export interface NaiveOutcome {
  readonly verdict: Verdict;
  readonly decidedBy: WalkEntry | undefined;
  /** Rules that matched. */
  readonly walk: readonly WalkEntry[];
  readonly rules: number;
  readonly chains: number;
  readonly setLookups: number;
  readonly state: CtState;
  readonly connmark: number;
}

type ChainEnd = { readonly verdict: Verdict; readonly by: WalkEntry } | "return";

const WAYS: Readonly<Record<NaiveDevices["path"], readonly (readonly [Hook, TableName | "conntrack"])[]>> = {
  forward: [
    ["PREROUTING", "raw"],
    ["PREROUTING", "conntrack"],
    ["PREROUTING", "mangle"],
    ["PREROUTING", "nat"],
    ["FORWARD", "mangle"],
    ["FORWARD", "filter"],
    ["FORWARD", "security"],
    ["POSTROUTING", "mangle"],
    ["POSTROUTING", "nat"],
  ],
  input: [
    ["PREROUTING", "raw"],
    ["PREROUTING", "conntrack"],
    ["PREROUTING", "mangle"],
    ["PREROUTING", "nat"],
    ["INPUT", "mangle"],
    ["INPUT", "filter"],
    ["INPUT", "security"],
    ["INPUT", "nat"],
  ],
  output: [
    ["OUTPUT", "raw"],
    ["OUTPUT", "conntrack"],
    ["OUTPUT", "mangle"],
    ["OUTPUT", "nat"],
    ["OUTPUT", "filter"],
    ["OUTPUT", "security"],
    ["POSTROUTING", "mangle"],
    ["POSTROUTING", "nat"],
  ],
};

/** Walks one packet; `limits` holds how often each limited rule matched before (time stands still). */
export function naiveWalk(program: TableProgram, input: NaiveInput, limits: Map<Match, number>): NaiveOutcome {
  const run = new Run(program, input, limits);
  return run.outcome();
}

class Run {
  readonly walk: WalkEntry[] = [];
  rules = 0;
  chains = 0;
  setLookups = 0;
  mark: number;
  connmark: number;
  state: CtState = "invalid";
  tracked = false;
  chosen = false;
  hook: Hook = "PREROUTING";
  table: TableName = "raw";
  readonly program: TableProgram;
  readonly input: NaiveInput;
  readonly limits: Map<Match, number>;

  constructor(program: TableProgram, input: NaiveInput, limits: Map<Match, number>) {
    this.program = program;
    this.input = input;
    this.limits = limits;
    this.mark = input.mark;
    this.connmark = input.connmark;
  }

  outcome(): NaiveOutcome {
    let decidedBy: WalkEntry | undefined;
    let beforeTracking = true;
    const finish = (verdict: Verdict): NaiveOutcome => ({
      verdict,
      decidedBy,
      walk: this.walk,
      rules: this.rules,
      chains: this.chains,
      setLookups: this.setLookups,
      state: beforeTracking ? "untracked" : this.state,
      connmark: beforeTracking ? this.input.connmark : this.connmark,
    });
    let filtered = false;
    for (const [hook, table] of WAYS[this.input.devices.path]) {
      if (table === "conntrack") {
        beforeTracking = false;
        if (this.state === "untracked") continue;
        this.state = this.input.state;
        this.tracked = this.state !== "invalid" && this.state !== "untracked";
        this.connmark = this.input.connmark;
        continue;
      }
      const chain = this.chain(table, hook);
      if (chain === undefined) continue;
      if (table === "nat" && !(this.tracked && this.input.isPending)) continue;
      this.hook = hook;
      this.table = table;
      const end = this.runChain(chain);
      const policy: WalkEntry = [table, hook, chain.rules.length + 1];
      const { verdict, by } = end === "return" ? { verdict: chain.policy ?? "accept", by: policy } : end;
      if (verdict !== "accept") {
        decidedBy = by;
        return finish(verdict);
      }
      if (!filtered) decidedBy = by;
      if (table === "filter") filtered = true;
    }
    return finish("accept");
  }

  chain(table: TableName, name: string): Chain | undefined {
    return this.program.families
      .find(({ family }) => family === this.input.packet.source.family)
      ?.tables.find((each) => each.name === table)
      ?.chains.find((each) => each.name === name);
  }

  runChain(chain: Chain): ChainEnd {
    this.chains++;
    for (const [index, rule] of chain.rules.entries()) {
      this.rules++;
      const place: WalkEntry = [this.table, chain.name, index + 1];
      if (!this.ruleHolds(rule)) continue;
      const isOpaque = rule.matches.some(({ kind }) => kind === "opaque");
      const target = rule.target;
      if (isOpaque && (target === undefined || target.kind === "log")) continue;
      this.walk.push(place);
      if (isOpaque) return { verdict: "unknown", by: place };
      if (target === undefined) continue;
      switch (target.kind) {
        case "accept":
        case "drop":
        case "reject":
          return { verdict: target.kind, by: place };
        case "nat":
          return { verdict: "accept", by: place };
        case "opaque":
          return { verdict: "unknown", by: place };
        case "return":
          return "return";
        case "jump": {
          const end = this.runChain(this.callee(target.chain));
          if (end !== "return") return end;
          break;
        }
        case "goto": // its end is this chain's end
          return this.runChain(this.callee(target.chain));
        case "mark":
          this.mark = setBits(this.mark, target.mask, target.value);
          break;
        case "connmark":
          if (!this.tracked) break;
          if (target.operation === "set") this.connmark = setBits(this.connmark, target.mask, target.value);
          if (target.operation === "save") {
            this.connmark = setBits(this.connmark, target.mask, and(this.mark, target.mask));
          }
          if (target.operation === "restore") {
            this.mark = setBits(this.mark, target.mask, and(this.connmark, target.mask));
          }
          break;
        case "notrack":
        case "ctZone":
          if (!this.chosen) this.state = target.kind === "notrack" ? "untracked" : "new";
          if (!this.chosen && target.kind === "ctZone") {
            this.tracked = true; // the template has a mark too, until tracking puts the connection in its place
            this.connmark = 0;
          }
          this.chosen = true;
          break;
        case "log":
          break;
        default:
          throw new Error(`target ${JSON.stringify(target satisfies never)}`);
      }
    }
    return "return";
  }

  callee(name: string): Chain {
    const chain = this.chain(this.table, name);
    if (chain === undefined) throw new Error(`no chain ${name}`);
    return chain;
  }

  ruleHolds(rule: Rule): boolean {
    // A limit is only asked when all before it hold; the generated rules have none that changes a verdict.
    return rule.matches.every((match) => this.holds(match));
  }

  holds(match: Match): boolean {
    const { packet } = this.input;
    switch (match.kind) {
      case "comment":
      case "opaque":
        return true;
      case "limit": {
        const used = this.limits.get(match) ?? 0;
        if (used >= match.burst) return false;
        this.limits.set(match, used + 1);
        return true;
      }
      case "address":
        return inCidr(this.side(match.side), match.cidr) !== match.negate;
      case "interface":
        return matchesName(match.name, this.devices()[match.side]) !== match.negate;
      case "protocol":
        return (packet.protocol === match.protocol) !== match.negate;
      case "fragment":
        return packet.fragment !== match.negate;
      case "ports":
        return this.portsHold(match);
      case "tcpFlags": {
        if (packet.fragment || packet.protocol !== 6) return false;
        return (and(packet.tcpFlags, match.mask) === match.compare) !== match.negate;
      }
      case "icmp": {
        if (packet.fragment || packet.protocol !== (match.family === 4 ? 1 : 58)) return false;
        const anyType = match.family === 4 && match.type === 255;
        const same = packet.icmpType === match.type && (match.code === undefined || match.code === packet.icmpCode);
        return (anyType || same) !== match.negate;
      }
      case "set":
        return this.inSet(match.set, match.sides) !== match.negate;
      case "mark":
        return (and(this.mark, match.mask) === match.value) !== match.negate;
      case "connmark":
        return this.tracked && (and(this.connmark, match.mask) === match.value) !== match.negate;
      case "ctState":
        return match.states.includes(this.state) !== match.negate;
      case "addressType":
        return this.hasType(this.side(match.side), match.type) !== match.negate;
      case "physdev":
        return this.physdevHolds(match);
      case "rpfilter":
        return this.routesBack(match.loose) !== match.invert;
      default:
        throw new Error(`match ${JSON.stringify(match satisfies never)}`);
    }
  }

  side(side: Side): IpAddress {
    return side === "source" ? this.input.packet.source : this.input.packet.destination;
  }

  devices(): { readonly in: string; readonly out: string; readonly physIn: string; readonly physOut: string } {
    const { devices } = this.input;
    switch (this.hook) {
      case "PREROUTING":
      case "INPUT":
        return { in: devices.in, out: "", physIn: devices.physIn, physOut: "" };
      case "FORWARD":
        return devices;
      case "OUTPUT":
        return { in: "", out: devices.out, physIn: "", physOut: "" };
      case "POSTROUTING":
        return { ...devices, in: devices.physOut === "" ? devices.in : "" };
      default:
        throw new Error(`hook ${this.hook satisfies never}`);
    }
  }

  portsHold(match: Extract<Match, { kind: "ports" }>): boolean {
    const { packet } = this.input;
    const numbers = { tcp: [6], udp: [17], udplite: [136], dccp: [33], sctp: [132], multiport: [6, 17, 136, 33, 132] };
    if (packet.fragment || !numbers[match.extension].includes(packet.protocol)) return false;
    const within = (port: number) => match.ranges.some(({ first, last }: PortRange) => first <= port && port <= last);
    const source = match.side !== "destination" && within(packet.sourcePort);
    const destination = match.side !== "source" && within(packet.destinationPort);
    return (source || destination) !== match.negate;
  }

  inSet(name: string, sides: readonly Side[]): boolean {
    const set = this.program.sets.find((each) => each.name === name);
    if (set === undefined) throw new Error(`no set ${name}`);
    if (set.type === "list:set") {
      return set.members.some((member) => member.kind === "set" && this.inSet(member.set, sides));
    }
    return this.inHash(set, sides);
  }

  inHash(set: IPSet, sides: readonly Side[]): boolean {
    this.setLookups++;
    const { packet } = this.input;
    const [first = "source", second] = sides;
    const address = this.side(first);
    if (set.family !== address.family) return false;
    const withPort = set.type.endsWith(",port");
    if (withPort && second === undefined) return false;
    let port = 0;
    if (withPort) {
      const { protocol } = packet;
      const hasPort = [6, 17, 132, 136].includes(protocol);
      if (packet.fragment && (set.family === 6 || hasPort || protocol === 1)) return false;
      if (hasPort) port = second === "source" ? packet.sourcePort : packet.destinationPort;
      if (protocol === 1 || protocol === 58) port = packet.icmpType * 256 + packet.icmpCode;
    }
    const entries = set.members.filter((member): member is Exclude<IPSetMember, { kind: "set" }> => {
      if (member.kind === "set" || !inCidr(address, member.cidr)) return false;
      return member.kind === "net" || (member.protocol === packet.protocol && member.port === port);
    });
    const longest = Math.max(...entries.map(({ cidr }) => cidr.prefixLength));
    const deciding = entries.filter(({ cidr }) => cidr.prefixLength === longest).at(-1);
    return deciding !== undefined && deciding.nomatch !== true;
  }

  hasType(address: IpAddress, type: string): boolean {
    const text = formatAddress(address);
    const isLocal = this.isLocal(address);
    if (type === "LOCAL") return isLocal;
    if (address.family === 4) {
      const first = Number(text.split(".")[0]);
      const actual =
        first === 0 || text === "255.255.255.255"
          ? "BROADCAST"
          : first >= 224 && first < 240
            ? "MULTICAST"
            : isLocal
              ? "LOCAL"
              : "UNICAST";
      return actual === type;
    }
    if (type === "MULTICAST") return text.startsWith("ff");
    return type === "UNICAST" && !text.startsWith("ff") && text !== "::" && !text.startsWith("::ffff:");
  }

  isLocal(address: IpAddress): boolean {
    const text = formatAddress(address);
    const { localAddresses } = this.program.attachment;
    return text === "::1" || text.startsWith("127.") || localAddresses.some((local) => same(local, address));
  }

  physdevHolds(match: Extract<Match, { kind: "physdev" }>): boolean {
    const { physIn, physOut } = this.devices();
    const deviceHolds = (test: DeviceTest, name: string) => matchesName(test.name, name) !== test.negate;
    if (physIn === "" && physOut === "") {
      const flags = [match.isBridged, match.isIn, match.isOut];
      return flags.every((flag) => flag !== true) && match.in?.negate !== false && match.out?.negate !== false;
    }
    if (match.isBridged !== undefined && match.isBridged !== (physOut !== "")) return false;
    if (match.isIn !== undefined && match.isIn !== (physIn !== "")) return false;
    if (match.isOut !== undefined && match.isOut !== (physOut !== "")) return false;
    if (match.in !== undefined && physIn !== "" && !deviceHolds(match.in, physIn)) return false;
    return match.out === undefined || (physOut !== "" && deviceHolds(match.out, physOut));
  }

  routesBack(loose: boolean): boolean {
    const { source, destination } = this.input.packet;
    const text = formatAddress(source);
    if (source.family === 4 && text.startsWith("0.")) {
      const to = formatAddress(destination);
      return to === "255.255.255.255" || to.startsWith("224.0.0.");
    }
    if (text === "::") return true;
    if (this.isLocal(source)) return false;
    return loose || naiveDevice(this.program.attachment, source) === this.devices().in;
  }
}

/** The device behind which an address is, seen from the node. */
export function naiveDevice(attachment: Attachment, address: IpAddress): string {
  const pod = attachment.pods.find(({ addresses }) => addresses.some((each) => same(each, address)));
  if (pod !== undefined) return attachment.bridge ?? pod.interface;
  const remote = attachment.remotePodAddresses.some((each) => same(each, address));
  return remote && attachment.remotePodsPort !== undefined ? (attachment.bridge ?? "") : attachment.uplink;
}

function same(a: IpAddress, b: IpAddress): boolean {
  return compareAddresses(a, b) === 0;
}

function bitsOf(address: { readonly family: Family; readonly words: readonly number[] }): string {
  return address.words.map((word) => (word >>> 0).toString(2).padStart(32, "0")).join("");
}

function inCidr(address: IpAddress, cidr: Cidr): boolean {
  return (
    address.family === cidr.family &&
    bitsOf(address).slice(0, cidr.prefixLength) === bitsOf(cidr).slice(0, cidr.prefixLength)
  );
}

function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function and(a: number, b: number): number {
  return Number(BigInt(a) & BigInt(b));
}

/** `(old & ~mask) ^ value` on unsigned 32-bit numbers. */
function setBits(old: number, mask: number, value: number): number {
  return Number((BigInt(old) & ~BigInt(mask) & 0xffff_ffffn) ^ BigInt(value));
}
