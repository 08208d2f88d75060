/** Which devices a program cannot tell apart. */
import { type DeviceTable, NO_DEVICE } from "../devices.ts";

/** A device that was not seen yet. */
const UNSEEN = 0xffff;

/** What a program asks of a device in one role: as what a packet came in by, or leaves by, or their ports of a bridge. */
export interface DeviceQuestions {
  /** Numbers of patterns (`DeviceTable.pattern`). */
  readonly patterns: ReadonlySet<number>;
  /** Whether each device is a class of its own. */
  readonly isIdentity: boolean;
}

/** Classes of devices. A node learns of devices as it goes, so the class of one is found when it is first asked for. */
export class DeviceClasses {
  readonly #devices: DeviceTable;
  readonly #questions: DeviceQuestions;
  readonly #classes = new Map<string, number>();
  #table = new Uint16Array(64).fill(UNSEEN);

  constructor(devices: DeviceTable, questions: DeviceQuestions) {
    this.#devices = devices;
    this.#questions = questions;
  }

  of(device: number): number {
    const known = this.#table[device] ?? UNSEEN;
    return known === UNSEEN ? this.#learn(device) : known;
  }

  #learn(device: number): number {
    if (device >= this.#table.length) {
      const grown = new Uint16Array(Math.max(device + 1, this.#table.length * 2)).fill(UNSEEN);
      grown.set(this.#table);
      this.#table = grown;
    }
    const { patterns, isIdentity } = this.#questions;
    // Whether there is a device at all is asked by physdev, and changes what POSTROUTING sees.
    let name = isIdentity ? `${device}` : device === NO_DEVICE ? "none" : "";
    for (const pattern of patterns) if (this.#devices.matches(pattern, device)) name += ` ${pattern}`;
    const found = this.#classes.get(name) ?? this.#classes.size;
    this.#classes.set(name, found);
    this.#table[device] = found;
    return found;
  }
}
