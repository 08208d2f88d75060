/** Rules that test an interface, by the device for which the test holds. */
import type { DeviceTable } from "../devices.ts";

const NOTHING = new Int32Array(0);

/**
 * Slots are entered by the pattern they test. A node learns of devices as it goes, so the list of one is made when a packet
 * first comes by it, of the patterns that it answers to: a device costs a test for each pattern, once.
 */
export class DeviceLists {
  readonly #devices: DeviceTable;
  readonly #byPattern = new Map<number, number[]>();
  /** By device, in order; undefined: not asked for yet. */
  readonly #lists: (Int32Array | undefined)[] = [];

  constructor(devices: DeviceTable) {
    this.#devices = devices;
  }

  get isEmpty(): boolean {
    return this.#byPattern.size === 0;
  }

  /** Enters a slot; all have to be there before the first is asked for. */
  add(name: string, slot: number): void {
    const pattern = this.#devices.pattern(name);
    const known = this.#byPattern.get(pattern);
    if (known === undefined) this.#byPattern.set(pattern, [slot]);
    else known.push(slot);
  }

  /** The slots whose test holds for a device, in order. */
  slotsOf(device: number): Int32Array {
    return this.#lists[device] ?? this.#learn(device);
  }

  #learn(device: number): Int32Array {
    const slots = [...this.#byPattern].flatMap(([pattern, of]) => (this.#devices.matches(pattern, device) ? of : []));
    while (this.#lists.length <= device) this.#lists.push(undefined);
    const list = slots.length === 0 ? NOTHING : Int32Array.from(slots).sort();
    this.#lists[device] = list;
    return list;
  }
}
