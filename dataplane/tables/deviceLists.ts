/** Rules that test an interface, by the device for which the test holds. */
import type { DeviceTable } from "../devices.ts";

const NOTHING = new Int32Array(0);

/**
 * Slots are entered by the pattern they test. A node learns of devices as it goes, so the list of one is made when a packet
 * first comes by it: of the slots that name it, found by its name, and those of the patterns with a wildcard that it answers to.
 * Dispatch names devices, so that is one look-up for most.
 */
export class DeviceLists {
  readonly #devices: DeviceTable;
  readonly #byName = new Map<string, number[]>();
  /** By number of the pattern. */
  readonly #byWildcard = new Map<number, number[]>();
  /** By device, in order; undefined: not asked for yet. */
  readonly #lists: (Int32Array | undefined)[] = [];

  constructor(devices: DeviceTable) {
    this.#devices = devices;
  }

  get isEmpty(): boolean {
    return this.#byName.size + this.#byWildcard.size === 0;
  }

  /** Enters a slot; all have to be there before the first is asked for. */
  add(name: string, slot: number): void {
    if (name.endsWith("+")) enter(this.#byWildcard, this.#devices.pattern(name), slot);
    else enter(this.#byName, name, slot);
  }

  /** The slots whose test holds for a device, in order. */
  slotsOf(device: number): Int32Array {
    return this.#lists[device] ?? this.#learn(device);
  }

  #learn(device: number): Int32Array {
    const found: number[] = [];
    const named = this.#byName.get(this.#devices.name(device));
    if (named !== undefined) append(found, named);
    for (const [pattern, slots] of this.#byWildcard) if (this.#devices.matches(pattern, device)) append(found, slots);
    while (this.#lists.length <= device) this.#lists.push(undefined);
    const list = found.length === 0 ? NOTHING : Int32Array.from(found).sort();
    this.#lists[device] = list;
    return list;
  }
}

function append(all: number[], slots: readonly number[]): void {
  for (let index = 0; index < slots.length; index++) all.push(slots[index] ?? 0);
}

function enter<Key>(lists: Map<Key, number[]>, key: Key, slot: number): void {
  const known = lists.get(key);
  if (known === undefined) lists.set(key, [slot]);
  else known.push(slot);
}
