/**
 * Service addresses in a recording. A client sends to the Service's address; kube-proxy rewrites the destination before any
 * policy is asked (PREROUTING and OUTPUT of nat come before FORWARD), so what policies see is the endpoint. Packets
 * recorded on the client's side of that are given the endpoint's address here, and their replies likewise.
 */
import { addressesEqual, formatAddress, type IpAddress } from "../dataplane/address.ts";
import { type PacketBatch, PROTOCOL } from "../dataplane/packet.ts";
import { EndTable, endOf, type PacketEnd, setEnd } from "./endTable.ts";
import { canOpen } from "./openingPacket.ts";

/** One address and port of a Service. */
export interface ServiceAddress {
  /** `namespace/service`. */
  readonly service: string;
  readonly address: IpAddress;
  /** IANA number. */
  readonly protocol: number;
  readonly port: number;
  /** Of the same family; ready ones first. Empty: nobody answers. */
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface ServiceEndpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** Rows around a first packet in which its copy behind the translation is looked for (captures on several interfaces). */
const ROWS_BEFORE = 16;
const ROWS_AFTER = 64;
/** Choices remembered; beyond it all are forgotten, which costs no more than asking again. */
const MAX_CHOICES = 1_000_000;

export class Services {
  /** Packets rewritten. */
  count = 0;
  #addresses: readonly ServiceAddress[] = [];
  /** Numbers of the addresses, by protocol and port as well. */
  #table = new EndTable();
  /** Endpoints may change: who has one keeps it as long as the connection lasts. */
  #isChanging = false;
  /** Client and Service address -> endpoint. */
  readonly #choices = new Map<string, ServiceEndpoint>();
  readonly #guessed = new Set<ServiceAddress>();
  /** Rows around those of a batch. */
  #before: PacketBatch | undefined;
  #after: PacketBatch | undefined;

  /** `story`: the endpoints are those of the start, and `become` others. */
  constructor(addresses: readonly ServiceAddress[], story: "none" | "changing" = "none") {
    this.#isChanging = story === "changing";
    this.#load(addresses);
  }

  /** Whether what comes before and after a batch can tell more. */
  get looksAround(): boolean {
    return this.#isChanging || this.#addresses.some(({ endpoints }) => endpoints.length > 1);
  }

  /** The batches on either side of the next one. */
  lookAround(before: PacketBatch | undefined, after: PacketBatch | undefined): void {
    this.#before = before;
    this.#after = after;
  }

  /** The cluster has changed. An address that is no Service's any more goes on for the connections there are. */
  become(addresses: readonly ServiceAddress[]): void {
    const left = new Set(addresses.map(placeText));
    const gone = this.#addresses.filter((each) => !left.has(placeText(each)));
    this.#load([...addresses, ...gone.map((each) => ({ ...each, endpoints: [] }))]);
  }

  #load(addresses: readonly ServiceAddress[]): void {
    this.#addresses = addresses;
    this.#table = new EndTable();
    for (const [number, { address, protocol, port }] of addresses.entries()) {
      this.#table.set(address, keyOf(protocol, port), number);
    }
  }

  /** Services with several endpoints where the recording does not say which one answered: the first was taken. */
  get guessed(): readonly string[] {
    return [...new Set([...this.#guessed].map(({ service }) => service))].sort();
  }

  /** Rewrites the row if one of its ends is a Service address. 1: it was. */
  translate(packets: PacketBatch, row: number): 0 | 1 {
    const protocol = packets.protocol[row] ?? 0;
    if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp && protocol !== PROTOCOL.sctp) return 0;
    const to = this.#find(packets, row, "destination", keyOf(protocol, packets.destinationPort[row] ?? 0));
    if (to !== undefined) {
      const endpoint = this.#choose(packets, row, to, "source");
      if (endpoint === undefined) return 0;
      setEndpoint(packets, row, "destination", endpoint);
      this.count++;
      return 1;
    }
    const from = this.#find(packets, row, "source", keyOf(protocol, packets.sourcePort[row] ?? 0));
    if (from === undefined) return 0;
    const endpoint = this.#choose(packets, row, from, "destination");
    if (endpoint === undefined) return 0;
    setEndpoint(packets, row, "source", endpoint);
    this.count++;
    return 1;
  }

  #find(packets: PacketBatch, row: number, end: PacketEnd, key: number): ServiceAddress | undefined {
    const found = this.#table.find(packets, row, end, key);
    return found < 0 ? undefined : this.#addresses[found];
  }

  /** The endpoint of a client's connection: the one seen, else the first. A connection keeps its endpoint. */
  #choose(packets: PacketBatch, row: number, service: ServiceAddress, client: PacketEnd): ServiceEndpoint | undefined {
    const [only, ...others] = service.endpoints;
    if (others.length === 0 && !this.#isChanging) return only;
    const key = `${placeText(service)} ${clientText(packets, row, client)}`;
    const known = this.#choices.get(key);
    if (known !== undefined && (!opensAnew(packets, row) || hasEndpoint(service, known))) return known;
    const seen = client === "source" ? this.#seenEndpoint(packets, row, service) : undefined;
    if (seen === undefined && others.length > 0) this.#guessed.add(service);
    const endpoint = seen ?? only;
    if (this.#choices.size >= MAX_CHOICES) this.#choices.clear();
    if (endpoint !== undefined) this.#choices.set(key, endpoint);
    return endpoint;
  }

  /** The endpoint to which the same packet goes in a row nearby: its copy behind the translation. */
  #seenEndpoint(packets: PacketBatch, row: number, service: ServiceAddress): ServiceEndpoint | undefined {
    const seen = { sequence: packets.sequence[row], tcpFlags: packets.tcpFlags[row] };
    const sought = { seen, client: clientText(packets, row, "source"), service };
    const [before, after] = [this.#before, this.#after];
    for (let other = row - ROWS_BEFORE; other < row + ROWS_AFTER; other++) {
      const past = other - packets.length;
      const [near, at] =
        other < 0 ? [before, (before?.length ?? 0) + other] : past < 0 ? [packets, other] : [after, past];
      if (near === undefined || at < 0 || at >= near.length) continue;
      const endpoint = endpointOf(near, at, sought);
      if (endpoint !== undefined) return endpoint;
    }
    return undefined;
  }
}

/** Where there is no handshake, kube-proxy takes the connection away with its endpoint. */
function opensAnew(packets: PacketBatch, row: number): boolean {
  return packets.protocol[row] === PROTOCOL.udp || canOpen(packets, row);
}

function hasEndpoint({ endpoints }: ServiceAddress, { address, port }: ServiceEndpoint): boolean {
  return endpoints.some((each) => each.port === port && addressesEqual(each.address, address));
}

function placeText({ address, protocol, port }: ServiceAddress): string {
  return `${formatAddress(address)} ${protocol} ${port}`;
}

function keyOf(protocol: number, port: number): number {
  return (protocol << 16) | port;
}

function setEndpoint(packets: PacketBatch, row: number, end: PacketEnd, { address, port }: ServiceEndpoint): void {
  setEnd(packets, row, end, { words: address.words, port });
}

function clientText(packets: PacketBatch, row: number, end: PacketEnd): string {
  const { words, port } = endOf(packets, row, end);
  return `${words.join(" ")} ${port}`;
}

/** The endpoint of a Service to which a packet goes in a row nearby. */
function endpointOf(packets: PacketBatch, row: number, { seen, client, service }: Sought): ServiceEndpoint | undefined {
  if (packets.protocol[row] !== service.protocol || packets.sequence[row] !== seen.sequence) return undefined;
  if (packets.tcpFlags[row] !== seen.tcpFlags || clientText(packets, row, "source") !== client) return undefined;
  return service.endpoints.find(
    ({ address, port }) =>
      packets.destination0[row] === address.words[0] &&
      packets.destination3[row] === (address.words[3] ?? 0) &&
      packets.destinationPort[row] === port,
  );
}

interface Sought {
  readonly seen: { readonly sequence: number | undefined; readonly tcpFlags: number | undefined };
  readonly client: string;
  readonly service: ServiceAddress;
}
