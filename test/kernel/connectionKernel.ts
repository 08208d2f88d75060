/**
 * Connection tracking of the kernel, packet by packet: the state each one has, the events it causes, the entries it leaves.
 *
 * The state of a packet is written into the packet: rules in FORWARD set the type of service by `-m conntrack --ctstate`,
 * and the packet that comes out says it. What shall be dropped, and the zone, go in by the hop limit.
 */
import { formatAddress, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import { type ConntrackOptions, conntrackSettings } from "../../dataplane/conntrack/options.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";
import type { ConnectionStep } from "../../verify/fuzz/conversations.ts";
import { type ConntrackEvent, conntrackEvents } from "../../verify/kernel/conntrackEvent.ts";
import { type Answer, Oracle, Requests } from "../../verify/kernel/oracle.ts";

export interface KernelAnswer {
  /** Undefined when the packet was dropped. */
  readonly state: string | undefined;
  readonly isReply: boolean;
  readonly events: readonly ConntrackEvent[];
}

/** Zones that a step may ask for. */
const ZONES = [0, 1, 2] as const;

/** Hop limit of a packet in zone 0 that passes; the next one is dropped, then come those of zone 1, and so on. */
const FIRST_HOP_LIMIT = 40;

const STATE_MARKS = { NEW: 0x04, ESTABLISHED: 0x08, RELATED: 0x0c, INVALID: 0x10, UNTRACKED: 0x14 } as const;
const STATE_MASK = 0x1c;
const REPLY_MARK = 0x40;

const SETUP = `
ip link set lo up
ip addr add 169.254.1.1/32 dev lo
for device in client server; do
  ip link set $device addrgenmode none
  ip link set $device mtu 65535 txqueuelen 10000 up
  echo 0 > /proc/sys/net/ipv4/conf/$device/rp_filter
  echo 0 > /proc/sys/net/ipv4/conf/$device/send_redirects
done
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
ip route add 10.0.0.0/16 dev client
ip route add 10.1.0.0/16 dev server
ip -6 route add fd00:0::/32 dev client
ip -6 route add fd00:1::/32 dev server
`;

function rules(command: string, hops: string): string {
  const zones = ZONES.slice(1).flatMap((zone) =>
    [0, 1].map((drop) => `-t raw -A PREROUTING -m ${hops}-eq ${hopLimit(zone, drop)} -j CT --zone ${zone}`),
  );
  const marks = Object.entries(STATE_MARKS).map(
    ([state, mark]) => `-t mangle -A FORWARD -m conntrack --ctstate ${state} -j TOS --set-tos ${mark}`,
  );
  // The hop limit is counted down before FORWARD.
  const drops = ZONES.map((zone) => `-A FORWARD -m ${hops}-eq ${hopLimit(zone, 1) - 1} -j DROP`);
  return [...zones, ...marks, `-t mangle -A FORWARD -m conntrack --ctdir REPLY -j TOS --or-tos ${REPLY_MARK}`, ...drops]
    .map((rule) => `${command} -w 20 ${rule}`)
    .join("\n");
}

function hopLimit(zone: number, drop: number): number {
  return FIRST_HOP_LIMIT + 2 * zone + drop;
}

/** A packet of zone 0 that passes the rules, as bytes. */
export function packetBytes(packet: Packet, identification: number): Uint8Array {
  const bytes = new Uint8Array(packetLength(packet));
  encodePacket(packet, bytes, 0, { identification, hopLimit: hopLimit(0, 0) });
  return bytes;
}

export interface RawPacket {
  readonly source: IpAddress;
  readonly bytes: Uint8Array;
}

export interface RawAnswer {
  /** What came out of either device, with the state written into it. */
  readonly left: readonly { readonly bytes: Uint8Array; readonly state: string | undefined }[];
  readonly events: readonly ConntrackEvent[];
}

/** One namespace with a client's and a server's side. */
export class ConnectionKernel {
  readonly #oracle: Oracle;

  private constructor(oracle: Oracle) {
    this.#oracle = oracle;
  }

  /** `checksums` as in `OracleOptions`. */
  static async start(checksums?: "verify"): Promise<ConnectionKernel> {
    const devices = ["client", "server"].map((name) => ({ kind: "tun" as const, name }));
    const oracle = await Oracle.start({ devices, events: true, ...(checksums && { checksums }) });
    try {
      oracle.run(`${SETUP + rules("iptables-legacy", "ttl --ttl")}\n${rules("ip6tables-legacy", "hl --hl")}`);
    } catch (error) {
      await oracle.close();
      throw error;
    }
    return new ConnectionKernel(oracle);
  }

  /** Sets the namespace's sysctls as the options say, all others to their defaults. */
  configure(options: ConntrackOptions): void {
    const settings = conntrackSettings(options);
    const { tcp, udp, sctp, gre, icmp, icmpv6, generic } = settings.timeouts;
    const values: Readonly<Record<string, number>> = {
      tcp_loose: Number(settings.tcpLoose),
      tcp_be_liberal: Number(settings.tcpBeLiberal),
      tcp_ignore_invalid_rst: Number(settings.tcpIgnoreInvalidRst),
      tcp_max_retrans: settings.tcpMaxRetransmissions,
      tcp_timeout_syn_sent: tcp.synSent,
      tcp_timeout_syn_recv: tcp.synRecv,
      tcp_timeout_established: tcp.established,
      tcp_timeout_fin_wait: tcp.finWait,
      tcp_timeout_close_wait: tcp.closeWait,
      tcp_timeout_last_ack: tcp.lastAck,
      tcp_timeout_time_wait: tcp.timeWait,
      tcp_timeout_close: tcp.close,
      tcp_timeout_max_retrans: tcp.maxRetransmissions,
      tcp_timeout_unacknowledged: tcp.unacknowledged,
      udp_timeout: udp.unreplied,
      udp_timeout_stream: udp.stream,
      sctp_timeout_closed: sctp.closed,
      sctp_timeout_cookie_wait: sctp.cookieWait,
      sctp_timeout_cookie_echoed: sctp.cookieEchoed,
      sctp_timeout_established: sctp.established,
      sctp_timeout_shutdown_sent: sctp.shutdownSent,
      sctp_timeout_shutdown_recd: sctp.shutdownReceived,
      sctp_timeout_shutdown_ack_sent: sctp.shutdownAckSent,
      sctp_timeout_heartbeat_sent: sctp.heartbeatSent,
      gre_timeout: gre.unreplied,
      gre_timeout_stream: gre.stream,
      icmp_timeout: icmp,
      icmpv6_timeout: icmpv6,
      generic_timeout: generic,
    };
    const lines = Object.entries(values).map(([name, value]) => `echo ${value} > nf_conntrack_${name}`);
    this.#oracle.run(["cd /proc/sys/net/netfilter", ...lines].join("\n"));
  }

  /** Pushes packets through, one after another. */
  async walk(steps: readonly ConnectionStep[]): Promise<readonly KernelAnswer[]> {
    const requests = new Requests();
    for (const [index, { packet, zone, isDropped }] of steps.entries()) {
      const length = packetLength(packet);
      const at = requests.inject(deviceOf(packet), length);
      encodePacket(packet, requests.bytes, at, {
        identification: (index % 0xffff) + 1,
        hopLimit: hopLimit(zone, Number(isDropped)),
      });
    }
    const answers = await this.#oracle.exchange(requests);
    return answers.map((answer, index) => readAnswer(answer, (index % 0xffff) + 1));
  }

  /** Packets as bytes, which a test may have cut or spoilt, from where `source` is. All leave with state and zone 0. */
  async send(packets: readonly RawPacket[]): Promise<readonly RawAnswer[]> {
    const requests = new Requests();
    for (const { source, bytes } of packets) {
      const at = requests.inject(deviceOf({ source }), bytes.length);
      requests.bytes.set(bytes, at);
    }
    const answers = await this.#oracle.exchange(requests);
    return answers.map((answer) => ({
      // What the kernel says by itself passes no rule of FORWARD, so nothing is written into it.
      left: answer.items
        .filter(({ kind, bytes }) => kind <= 1 && writtenState(bytes).state !== undefined)
        .map(({ bytes }) => ({ bytes, state: writtenState(bytes).state })),
      events: conntrackEvents(answer),
    }));
  }

  /** Everything the namespace's table holds. */
  entries(): readonly ConntrackEntry[] {
    return readEntries(this.#oracle.run(LIST_ENTRIES));
  }

  /** Runs a shell script in the namespace and returns what it printed. */
  run(script: string): string {
    return this.#oracle.run(script);
  }

  /** `conntrack -D`: removes the entry of a TCP packet. Its event is nobody's. */
  async forget({ source, destination, sourcePort, destinationPort }: Packet): Promise<void> {
    const ends = `-s ${formatAddress(source)} -d ${formatAddress(destination)}`;
    this.#oracle.run(`conntrack -D -p tcp ${ends} --sport ${sourcePort} --dport ${destinationPort}`);
    const requests = new Requests();
    requests.drain();
    await this.#oracle.exchange(requests);
  }

  async flush(): Promise<void> {
    const requests = new Requests();
    requests.flush();
    await this.#oracle.exchange(requests);
  }

  close(): Promise<void> {
    return this.#oracle.close();
  }
}

/** 10.0/16 and fd00:0/32 are the client's side, 10.1/16 and fd00:1/32 the server's. */
function deviceOf({ source }: Pick<Packet, "source">): number {
  const first = source.words[0] ?? 0;
  return (source.family === 4 ? first >>> 16 : first) & 1;
}

function readAnswer(answer: Answer, identification: number): KernelAnswer {
  const events = conntrackEvents(answer);
  for (const { kind, bytes } of answer.items) {
    if (kind > 1) continue; // not a packet that left by one of the two devices
    const byte = (index: number) => bytes[index] ?? 0;
    const isIpv4 = byte(0) >>> 4 === 4;
    const named = isIpv4 ? (byte(4) << 8) | byte(5) : ((byte(1) & 15) << 16) | (byte(2) << 8) | byte(3);
    if (named !== identification) continue; // something the kernel says by itself
    return { ...writtenState(bytes), events };
  }
  return { state: undefined, isReply: false, events };
}

/** What the rules wrote into the type of service, or traffic class. */
function writtenState(bytes: Uint8Array): Pick<KernelAnswer, "state" | "isReply"> {
  const [first = 0, second = 0] = bytes;
  const service = first >>> 4 === 4 ? second : ((first & 15) << 4) | (second >>> 4);
  const state = Object.entries(STATE_MARKS).find(([, mark]) => mark === (service & STATE_MASK));
  return { state: state?.[0].toLowerCase(), isReply: (service & REPLY_MARK) !== 0 };
}

/** Prints the table of the namespace it is run in. */
export const LIST_ENTRIES = "cat /proc/net/nf_conntrack";

export function readEntries(listed: string): readonly ConntrackEntry[] {
  return listed
    .split("\n")
    .filter((line) => line !== "")
    .map(readEntry);
}

/** A line of /proc/net/nf_conntrack, which is one of `conntrack -L` with the family in front. */
function readEntry(line: string): ConntrackEntry {
  const words = line.trim().split(/\s+/);
  const value = (name: string) => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const numberOf = (name: string) => Number(value(name) ?? 0);
  const protocol = Number(words[3]);
  const state = /^[A-Z]/.test(words[5] ?? "") ? words[5] : undefined;
  const source = parseAddress(value("src") ?? "");
  const destination = parseAddress(value("dst") ?? "");
  if (source === undefined || destination === undefined) throw new Error(`cannot read ${line}`);
  return {
    protocol,
    source,
    destination,
    sourcePort: numberOf("sport"),
    destinationPort: numberOf("dport"),
    ...(value("type") !== undefined && {
      icmp: { type: numberOf("type"), code: numberOf("code"), id: numberOf("id") },
    }),
    zone: numberOf("zone"),
    state,
    seenReply: !words.includes("[UNREPLIED]"),
    assured: words.includes("[ASSURED]"),
    timeout: Number(words[4]),
    mark: numberOf("mark"),
  };
}

/** What names an entry. */
export function entryKey(entry: ConntrackEntry): string {
  const { protocol, source, destination, sourcePort, destinationPort, icmp, zone } = entry;
  const message = icmp === undefined ? "" : ` ${icmp.type}/${icmp.code}/${icmp.id}`;
  return `${protocol} ${formatAddress(source)}:${sourcePort} ${formatAddress(destination)}:${destinationPort}${message} zone ${zone}`;
}
