/** Where addresses are, seen from one node: which device leads to them. Built from a program's `Attachment`. */
import type { IpAddress } from "./address.ts";
import { AddressTable } from "./addressTable.ts";
import { type DeviceTable, NO_DEVICE } from "./devices.ts";
import type { Attachment } from "./program.ts";

/**
 * A place is a small number that says where an address is: elsewhere (behind the uplink), on the node itself, or behind
 * a device. Of two pods with one address the first named has it.
 */
export class NodeRoutes {
  static readonly ELSEWHERE = 0;
  static readonly LOCAL = 1;

  readonly #addresses4: AddressTable;
  readonly #addresses6 = new AddressTable(6);
  readonly #devices: number[] = [];
  readonly #ports: number[] = [];

  constructor(attachment: Attachment, devices: DeviceTable) {
    this.#addresses4 = new AddressTable(4, attachment.pods.length + attachment.localAddresses.length);
    this.#addPlace(devices.number(attachment.uplink), NO_DEVICE);
    this.#addPlace(NO_DEVICE, NO_DEVICE);
    for (const address of attachment.localAddresses) this.#add(address, NodeRoutes.LOCAL);
    const bridge = attachment.bridge === undefined ? undefined : devices.number(attachment.bridge);
    for (const pod of attachment.pods) {
      const device = devices.number(pod.interface);
      const place = bridge === undefined ? this.#addPlace(device, NO_DEVICE) : this.#addPlace(bridge, device);
      for (const address of pod.addresses) this.#add(address, place);
    }
    if (attachment.remotePodsPort !== undefined && bridge !== undefined) {
      const place = this.#addPlace(bridge, devices.number(attachment.remotePodsPort));
      for (const address of attachment.remotePodAddresses) this.#add(address, place);
    }
  }

  /** The place of an address. */
  place(family: number, word0: number, word1: number, word2: number, word3: number): number {
    if (family === 4) {
      if (word0 >>> 24 === 127) return NodeRoutes.LOCAL; // 127.0.0.0/8, RFC 6890
      const found = this.#addresses4.find4(word0, 0);
      return found < 0 ? NodeRoutes.ELSEWHERE : found;
    }
    if ((word0 | word1 | word2) === 0 && word3 === 1) return NodeRoutes.LOCAL; // ::1
    const found = this.#addresses6.find6(word0, word1, word2, word3, 0);
    return found < 0 ? NodeRoutes.ELSEWHERE : found;
  }

  /** The device that leads to a place: an interface, the bridge, or none for the node itself. */
  device(place: number): number {
    return this.#devices[place] ?? NO_DEVICE;
  }

  /** The port of the bridge behind which a place is; none when it is not on the bridge. */
  port(place: number): number {
    return this.#ports[place] ?? NO_DEVICE;
  }

  #addPlace(device: number, port: number): number {
    this.#devices.push(device);
    this.#ports.push(port);
    return this.#devices.length - 1;
  }

  #add(address: IpAddress, place: number): void {
    const table = address.family === 4 ? this.#addresses4 : this.#addresses6;
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = address.words;
    if (this.place(address.family, word0, word1, word2, word3) !== NodeRoutes.ELSEWHERE) return;
    table.set(address.words, 0, place);
  }
}
