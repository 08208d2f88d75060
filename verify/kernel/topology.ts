/**
 * A node as the kernel sees it: from a program's `Attachment`, the devices, the commands that give them addresses, routes
 * and bridge entries, and where a packet enters.
 *
 * Routed pods have a TUN with the name their rules expect. On a bridge each pod is a TAP port, so that same-node traffic
 * is really bridged (br_netfilter, physdev); MAC addresses are made up, neighbours and forwarding entries are static, so
 * neither ARP nor learning is needed. The uplink is a TUN and the default route.
 */
import { addressBits, type Family, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { Attachment } from "../../dataplane/program.ts";
import type { Device } from "./oracle.ts";

/** How a packet gets into the node. */
export type Arrival =
  /** It comes in by device `device` (its number); with a frame header when that is a port of a bridge. */
  | { readonly kind: "device"; readonly device: number; readonly frame: FrameEnds | undefined }
  /** The node itself sends it. */
  | { readonly kind: "node" };

export interface FrameEnds {
  readonly source: number;
  readonly destination: number;
}

/** Bytes of an Ethernet header: destination, source, type (IEEE 802.3). */
export const FRAME_BYTES = 14;

/** Made-up addresses are 02:00:00:00:xx:xx: "locally administered", so nobody's. The bridge has the last one. */
const BRIDGE_MAC = 0xffff;

export class Topology {
  readonly devices: readonly Device[];
  /** Shell commands that set the namespace up, run once after the helper has made the devices. */
  readonly script: string;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #local: ReadonlySet<number | string>;
  /** Where an address of a pod hangs: the device its packets come in by, and its MAC address when that is a port. */
  readonly #places = new Map<number | string, { readonly device: number; readonly mac: number | undefined }>();
  readonly #uplink: number;
  readonly #remotePort: number | undefined;

  constructor(attachment: Attachment) {
    const { bridge, uplink, remotePodsPort, pods, remotePodAddresses, localAddresses } = attachment;
    const devices: Device[] = [];
    const numbers = new Map<string, number>();
    const add = (kind: Device["kind"], name: string): number => {
      const known = numbers.get(name);
      if (known !== undefined) return known;
      numbers.set(name, devices.length);
      return devices.push({ kind, name }) - 1;
    };
    this.#uplink = add("tun", uplink);
    this.#remotePort = bridge !== undefined && remotePodsPort !== undefined ? add("tap", remotePodsPort) : undefined;
    let mac = 1;
    for (const { interface: name, addresses } of pods) {
      const device = add(bridge === undefined ? "tun" : "tap", name);
      // Of two pods that claim one address the first keeps it.
      for (const address of addresses) this.#place(address, device, bridge === undefined ? undefined : mac++);
    }
    if (this.#remotePort !== undefined) {
      for (const address of remotePodAddresses) this.#place(address, this.#remotePort, mac++);
    }
    this.devices = devices;
    this.#numbers = numbers;
    this.#local = new Set(localAddresses.map(addressKey));
    const pairs = [
      ...pods.flatMap((pod) => pod.addresses),
      ...(this.#remotePort === undefined ? [] : remotePodAddresses),
    ].map((address) => ({ address, place: this.#placeOf(address) }));
    this.script = setUpScript({ attachment, devices, pairs });
  }

  /** Where a packet between these addresses enters the node: by its sender, as on a real wire. */
  arrivalOf(source: IpAddress, destination: IpAddress): Arrival {
    if (this.#local.has(addressKey(source))) return { kind: "node" };
    const place = this.#places.get(addressKey(source));
    return this.arrivalAt(place?.device ?? this.#uplink, source, destination);
  }

  /** Where a packet enters when it comes by the device with that number, whatever its source says. */
  arrivalAt(device: number, source: IpAddress, destination: IpAddress): Arrival {
    if (this.devices[device]?.kind !== "tap") return { kind: "device", device, frame: undefined };
    const sender = this.#places.get(addressKey(source))?.mac ?? 0xfffe;
    const receiver = this.#places.get(addressKey(destination))?.mac ?? BRIDGE_MAC;
    return { kind: "device", device, frame: { source: sender, destination: receiver } };
  }

  /** The number of the device with the name; undefined when the node has none. */
  deviceNumber(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  #place(address: IpAddress, device: number, mac: number | undefined): void {
    const key = addressKey(address);
    if (!this.#places.has(key)) this.#places.set(key, { device, mac });
  }

  #placeOf(address: IpAddress): { readonly device: number; readonly mac: number | undefined } {
    const place = this.#places.get(addressKey(address));
    if (place === undefined) throw new Error(`${formatAddress(address)} has no place`);
    return place;
  }
}

/** One value for one address, cheap for IPv4. */
export function addressKey(address: IpAddress): number | string {
  return address.family === 4 ? (address.words[0] ?? 0) : address.words.join();
}

/** Writes the Ethernet header of a packet of the family at `offset` of `bytes`. */
export function writeFrame(bytes: Uint8Array, offset: number, ends: FrameEnds, family: Family): void {
  for (const [at, mac] of [
    [offset, ends.destination],
    [offset + 6, ends.source],
  ] as const) {
    bytes.fill(0, at, at + 6);
    bytes[at] = 2;
    bytes[at + 4] = mac >>> 8;
    bytes[at + 5] = mac;
  }
  bytes[offset + 12] = family === 4 ? 0x08 : 0x86;
  bytes[offset + 13] = family === 4 ? 0x00 : 0xdd;
}

function macText(mac: number): string {
  return `02:00:00:00:${(mac >>> 8).toString(16).padStart(2, "0")}:${(mac & 255).toString(16).padStart(2, "0")}`;
}

interface SetUp {
  readonly attachment: Attachment;
  readonly devices: readonly Device[];
  readonly pairs: readonly {
    readonly address: IpAddress;
    readonly place: { device: number; mac: number | undefined };
  }[];
}

function setUpScript({ attachment, devices, pairs }: SetUp): string {
  const { bridge, uplink, localAddresses } = attachment;
  const links: string[] = ["link set lo up"];
  const ports: string[] = [];
  const up = (name: string) =>
    links.push(
      `link set dev ${name} addrgenmode none`,
      `link set dev ${name} txqueuelen 10000`,
      `link set dev ${name} up`,
    );
  if (bridge !== undefined) {
    links.push(
      `link add name ${bridge} type bridge mcast_snooping 0`,
      `link set dev ${bridge} address ${macText(BRIDGE_MAC)}`,
    );
    up(bridge);
  }
  for (const { kind, name } of devices) {
    if (kind === "tap" && bridge !== undefined) {
      links.push(`link set dev ${name} master ${bridge}`);
      ports.push(`link set dev ${name} learning off flood off mcast_flood off`);
    }
    up(name);
  }
  for (const address of localAddresses) {
    links.push(`address add ${formatAddress(address)}/${addressBits(address.family)} dev ${uplink}${nodad(address)}`);
  }
  // REJECT and ICMP errors need a source of their own, also on a node without addresses; nobody sends to these.
  links.push("address add 169.254.1.1/32 dev lo", "address add fd00:ffff::1/128 dev lo nodad");
  links.push(`route add default dev ${uplink}`, `route add ::/0 dev ${uplink}`);
  const seen = new Set<number | string>();
  for (const { address, place } of pairs) {
    if (seen.has(addressKey(address))) continue;
    seen.add(addressKey(address));
    const text = formatAddress(address);
    const port = devices[place.device]?.name ?? "";
    if (bridge === undefined || place.mac === undefined) {
      links.push(`route add ${text} dev ${port}`);
      continue;
    }
    links.push(`route add ${text} dev ${bridge}`);
    links.push(`neigh add ${text} lladdr ${macText(place.mac)} dev ${bridge} nud permanent`);
    ports.push(`fdb replace ${macText(place.mac)} dev ${port} master static`);
  }
  return [
    SYSCTLS_BEFORE,
    `ip -batch - <<'END'\n${links.join("\n")}\nEND`,
    ...(ports.length === 0 ? [] : [`bridge -batch - <<'END'\n${ports.join("\n")}\nEND`]),
    SYSCTLS_AFTER,
  ].join("\n");
}

function nodad(address: IpAddress): string {
  return address.family === 6 ? " nodad" : "";
}

/** Settings of the namespace alone; each for a reason that docs/kernel-judge.md tells. */
const SYSCTLS_BEFORE = `cd /proc/sys/net
echo 1 > ipv4/ip_forward
echo 1 > ipv6/conf/all/forwarding
echo 0 > ipv4/icmp_ratelimit
echo 0 > ipv4/icmp_ratemask
echo 0 > ipv6/icmp/ratelimit
echo > ipv6/icmp/ratemask`;

const SYSCTLS_AFTER = `for device in ipv4/conf/*; do
  echo 0 > $device/rp_filter
  echo 0 > $device/send_redirects
  echo 1 > $device/accept_local
done
[ ! -e bridge/bridge-nf-call-iptables ] || echo 1 > bridge/bridge-nf-call-iptables
[ ! -e bridge/bridge-nf-call-ip6tables ] || echo 1 > bridge/bridge-nf-call-ip6tables`;
