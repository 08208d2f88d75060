/**
 * Where a recording was made, and what that says of its packets. A packet seen on a pod's own interface on its way to the pod has
 * met every policy, one that has left the source's node has met egress policy; one seen on its way in has met none.
 */
import type { ClusterModel } from "../compiler/model.ts";
import { isOnPodNetwork } from "../compiler/model.ts";
import type { Attachment } from "../dataplane/program.ts";
import { CAPTURED, type CaptureInterface, type TrafficBatch } from "../traffic/source.ts";
import type { FlowTable } from "./flowTable.ts";
import type { AddressBook, Owner } from "./owners.ts";

export interface Place {
  readonly node: string;
  /** As the node calls it, or `ANY`; undefined: as the capture calls it. */
  readonly interface?: string | undefined;
  /** `namespace/name`: on the interface of this pod, on either end of it. */
  readonly pod?: string;
}

/** What `tcpdump -i` calls all interfaces of a node. */
const ANY = "any";

export interface PlaceProblem {
  readonly problem: string;
}

/** `NODE`, `NODE:INTERFACE`, `NODE:any` or `NAMESPACE/POD`. */
export function parsePlace(text: string, models: readonly ClusterModel[]): Place | PlaceProblem {
  if (text.includes("/")) {
    const pods = models.flatMap(({ endpoints }) => endpoints.filter(isOnPodNetwork));
    const pod = pods.find(({ key }) => key === text);
    if (pod === undefined) return { problem: `unknown pod "${text}" (or it has no network of its own)` };
    return { node: pod.node, pod: text };
  }
  const [node = "", ...rest] = text.split(":");
  const names = new Set(models.flatMap(({ nodes }) => nodes.map(({ name }) => name)));
  if (!names.has(node)) return { problem: `unknown node "${node}"; there are ${[...names].join(", ") || "no nodes"}` };
  const name = rest.join(":");
  if (rest.length > 0 && name === "") return { problem: `"${text}" names no interface after the colon` };
  return { node, interface: name === "" ? undefined : name };
}

export function isPlaceProblem(found: Place | PlaceProblem): found is PlaceProblem {
  return "problem" in found;
}

/** What an interface is to the packets on it. */
type Point =
  | { readonly kind: "pod"; readonly pod: string }
  /** To the other nodes and to the world. */
  | { readonly kind: "wire"; readonly node: string }
  | { readonly kind: "any"; readonly node: string }
  /** Inside a node, or not known: what was there may have met policies or not. */
  | { readonly kind: "unknown" };

/** Names of network cards (systemd.net-naming-scheme(7)) and of tunnels between nodes: beyond the rules of a node. */
const WIRE = /^(?:eth|en[opsx]|em\d|bond|wlan|vlan|tunl|vxlan|flannel|wireguard|cilium_(?:vxlan|geneve|wg))/;

const UNKNOWN: Point = { kind: "unknown" };

/** What a packet has met before it was recorded. */
export type Met = "every policy" | "egress policy" | "unknown";

export interface CapturePointsOptions {
  /** One for all files, or one for each; empty: only names of interfaces can say. */
  readonly places: readonly Place[];
  /** Of the recording; the list grows while it is read. */
  readonly interfaces: readonly CaptureInterface[];
  /** The number of the file that an interface is of. */
  readonly fileOf: (interfaceId: number) => number;
  /** Of every node that packets meet. */
  readonly attachments: () => ReadonlyMap<string, Attachment>;
  /** Whether a packet on its way out to a pod of its node has met the rules of that node, whatever the interface. */
  readonly filtersBeforeLeaving: boolean;
  readonly book: AddressBook;
}

export class CapturePoints {
  readonly #options: CapturePointsOptions;
  readonly #points: Point[] = [];
  #isKnown = false;

  constructor(options: CapturePointsOptions) {
    this.#options = options;
  }

  /** Whether anything is known of any interface. */
  get isKnown(): boolean {
    const { interfaces } = this.#options;
    while (this.#points.length < interfaces.length) {
      const point = this.#look(this.#points.length);
      this.#points.push(point);
      this.#isKnown ||= point !== UNKNOWN;
    }
    return this.#isKnown;
  }

  /** The cluster has changed. */
  forget(): void {
    this.#points.length = 0;
    this.#isKnown = false;
  }

  /** What a row has met that goes from the source of its flow to the destination. */
  met(traffic: TrafficBatch, row: number, { table, flow }: { readonly table: FlowTable; readonly flow: number }): Met {
    const point = this.#points[traffic.interfaceId[row] ?? 0] ?? UNKNOWN;
    if (point === UNKNOWN) return "unknown";
    const { book } = this.#options;
    const destination = book.owner(book.numberOf(table.destination(flow)));
    if (point.kind === "pod") return destination?.name === point.pod ? "every policy" : "unknown";
    if (point.kind === "unknown") return "unknown";
    const direction = traffic.direction[row] ?? CAPTURED.unknown;
    const source = book.owner(book.numberOf(table.source(flow)));
    if (point.kind === "any") {
      if (direction === CAPTURED.unknown) return "unknown";
      const isOut = direction === CAPTURED.outbound;
      if (isOut && isOn(destination, point.node)) {
        return this.#options.filtersBeforeLeaving && destination?.kind === "pod" ? "every policy" : "unknown";
      }
      if (isOut !== isOn(source, point.node)) return "unknown";
    }
    // Between nodes: the source's has let it go. Who is outside has no policy.
    if (source?.kind !== "pod" || (isOn(source, point.node) && isOn(destination, point.node))) return "unknown";
    return destination === undefined ? "every policy" : "egress policy";
  }

  #look(interfaceId: number): Point {
    const { places, interfaces, fileOf } = this.#options;
    const attachments = this.#options.attachments();
    const described = interfaces[interfaceId];
    const given = places.length > 1 ? places[fileOf(interfaceId)] : places[0];
    if (given?.pod !== undefined) return { kind: "pod", pod: given.pod };
    const [ownNode, name] = partsOf(described?.name, attachments);
    const node = given?.node ?? ownNode;
    const interfaceName = given?.interface ?? name;
    if (interfaceName === undefined)
      return described !== undefined && node !== undefined ? { kind: "any", node } : UNKNOWN;
    if (node !== undefined && interfaceName === ANY) return { kind: "any", node };
    for (const [owner, { pods }] of attachments) {
      if (node !== undefined && node !== owner) continue;
      const pod = pods.find((each) => each.interface === interfaceName);
      if (pod !== undefined) return { kind: "pod", pod: pod.endpoint };
    }
    if (node === undefined) return UNKNOWN;
    const { uplink, bridge } = attachments.get(node) ?? {};
    const isWire = interfaceName === uplink || (interfaceName !== bridge && WIRE.test(interfaceName));
    return isWire ? { kind: "wire", node } : UNKNOWN;
  }
}

/** `NODE:INTERFACE`, where a capture is so kind, or the interface alone. */
function partsOf(
  text: string | undefined,
  nodes: ReadonlyMap<string, unknown>,
): readonly [node: string | undefined, name: string | undefined] {
  const [node = "", ...rest] = text?.split(":") ?? [];
  return rest.length > 0 && nodes.has(node) ? [node, rest.join(":")] : [undefined, text];
}

export function isOn(owner: Owner | undefined, node: string): boolean {
  return owner?.kind === "pod" ? owner.pod.node === node : owner?.name === `node:${node}`;
}
