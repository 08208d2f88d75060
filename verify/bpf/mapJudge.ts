/** Map programs of a cluster in the kernel, and the way of a packet through them. */
import { addressesEqual, formatAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { AttachPoint, MapProgram } from "../../dataplane/program.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";
import type { KernelMap, KernelMaps } from "./kernelMaps.ts";
import { ETHERNET_BYTES, identityProgram, POLICY_VERDICT, readingProgram, tupleProgram } from "./policyProgram.ts";

type Direction = AttachPoint["direction"];

/** EtherTypes of IPv4 and IPv6. */
const ETHER_TYPE = { 4: 0x0800, 6: 0x86dd } as const;

/** Descriptors of what hangs at a pod, and of what only reads the packet as it does. */
interface Hung {
  readonly program: number;
  readonly reader: number;
}

/**
 * A cluster's programs, loaded. The kernel decides at each pod; which pods a first packet of a connection meets is said
 * here: the source's egress, then the destination's ingress.
 */
export class MapJudge {
  readonly #kernel: KernelMaps;
  readonly #descriptors: number[] = [];
  /** By direction and address: the program that hangs there. */
  readonly #programs = { egress: new Map<string, Hung>(), ingress: new Map<string, Hung>() };
  /** Programs that read a packet and nothing else, by direction and plan. */
  readonly #readers = new Map<string, number>();

  private constructor(kernel: KernelMaps) {
    this.#kernel = kernel;
  }

  /** Rejects with the kernel's words when it refuses a map, an entry or a program. */
  static async load(kernel: KernelMaps, programs: readonly MapProgram[]): Promise<MapJudge> {
    const judge = new MapJudge(kernel);
    for (const program of programs) await judge.#loadNode(program);
    return judge;
  }

  /** For each packet, alone and without connections: whether every program on its way passes it, or undefined when it meets none. */
  async run(packets: readonly Packet[]): Promise<readonly (boolean | undefined)[]> {
    const ways = packets.map((packet) => this.#way(packet));
    const runs = ways.flatMap((way, index) => {
      const packet = packets[index];
      if (packet === undefined || way.length === 0) return [];
      const frame = frameOf(packet);
      return way.map(({ program }) => ({ program, frame }));
    });
    const returned = (await this.#kernel.run(runs)).values();
    return ways.map((way) => {
      if (way.length === 0) return undefined;
      const verdicts = way.map(() => returned.next().value);
      return verdicts.every((verdict) => verdict === POLICY_VERDICT.pass);
    });
  }

  /**
   * Nanoseconds that the look-ups on a packet's way take: each program of it run so many times, less one that only reads
   * the packet.
   */
  async time(packet: Packet, times: number): Promise<number> {
    const frame = frameOf(packet);
    let ns = 0;
    for (const { program, reader } of this.#way(packet)) {
      ns += (await this.#kernel.time({ program, frame }, times)).ns;
      ns -= (await this.#kernel.time({ program: reader, frame }, times)).ns;
    }
    return ns;
  }

  /** Gives back maps and programs; the helper stays. */
  async unload(): Promise<void> {
    for (const fd of this.#descriptors.splice(0)) await this.#kernel.release(fd);
  }

  async #loadNode({ maps, attachPoints, attachment }: MapProgram): Promise<void> {
    const loaded = new Map<string, KernelMap>();
    for (const spec of maps) {
      // As large as its entries need: buckets of a hash map are made for all that it may ever hold.
      const map = await this.#kernel.create({ ...spec, maxEntries: Math.max(1, spec.entries.length) });
      this.#descriptors.push(map.fd);
      const refused = (await this.#kernel.update(map, spec.entries)).find((answer) => answer !== "ok");
      if (refused !== undefined) throw new Error(`map ${spec.name}: ${refused}`);
      loaded.set(spec.name, map);
    }
    const fdOf = (name: string): number => {
      const map = loaded.get(name);
      if (map === undefined) throw new Error(`no map ${name}`);
      return map.fd;
    };
    for (const { endpoint, direction, plan } of attachPoints) {
      const program = await this.#kernel.load(
        plan.kind === "identity"
          ? identityProgram(direction, { ipcache: fdOf(plan.ipcache), policy: fdOf(plan.policy) })
          : tupleProgram(direction, { exact: fdOf(plan.exact), blocks: fdOf(plan.blocks) }),
      );
      this.#descriptors.push(program);
      const reader = await this.#reader(direction, plan.kind);
      const addresses = attachment.pods.find((pod) => pod.endpoint === endpoint)?.addresses ?? [];
      for (const address of addresses) this.#programs[direction].set(formatAddress(address), { program, reader });
    }
  }

  async #reader(direction: Direction, plan: AttachPoint["plan"]["kind"]): Promise<number> {
    const key = `${direction} ${plan}`;
    const known = this.#readers.get(key);
    if (known !== undefined) return known;
    const reader = await this.#kernel.load(readingProgram(direction, plan));
    this.#readers.set(key, reader);
    this.#descriptors.push(reader);
    return reader;
  }

  #way({ source, destination }: Packet): readonly Hung[] {
    if (addressesEqual(source, destination)) return []; // never leaves the pod
    const egress = this.#programs.egress.get(formatAddress(source));
    const ingress = this.#programs.ingress.get(formatAddress(destination));
    return [egress, ingress].filter((program) => program !== undefined);
  }
}

function frameOf(packet: Packet): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + packetLength(packet));
  new DataView(frame.buffer).setUint16(ETHERNET_BYTES - 2, ETHER_TYPE[packet.source.family], false);
  encodePacket(packet, frame, ETHERNET_BYTES);
  return frame;
}
