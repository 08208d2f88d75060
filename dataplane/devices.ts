/** The network devices of one node as numbers, so that no name is compared on the packet path. */

/** Number of "no device": what a hook sees where netfilter passes none. Its name is the empty string. */
export const NO_DEVICE = 0;

/** The column that holds device numbers has 16 bits. */
const MAX_DEVICES = 0x1_0000;

/**
 * Device names and the patterns rules test them with (`eth0`, `cali+`), both numbered.
 *
 * A pattern is compiled to one byte per device, so that a wildcard costs the same as a name. Invariant: the byte at
 * `pattern * stride + device` says whether they match, for every pattern and device handed out so far; both may still
 * be added after programs are loaded.
 */
export class DeviceTable {
  readonly #names: string[] = [""];
  readonly #numbers = new Map<string, number>([["", NO_DEVICE]]);
  readonly #patterns: string[] = [];
  readonly #patternNumbers = new Map<string, number>();
  #stride = 16;
  #matches = new Uint8Array(16 * 16);

  /** The number of a device, given out on first sight. Throws a RangeError above 65,535 devices. */
  number(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const device = this.#names.length;
    if (device >= MAX_DEVICES) throw new RangeError(`more than ${MAX_DEVICES - 1} devices on one node`);
    this.#names.push(name);
    this.#numbers.set(name, device);
    if (device >= this.#stride) this.#resize();
    for (const [pattern, text] of this.#patterns.entries()) this.#fill(pattern, text, device);
    return device;
  }

  /** The name behind a number; the empty string for `NO_DEVICE`. */
  name(device: number): string {
    const name = this.#names[device];
    if (name === undefined) throw new RangeError(`device ${device} of ${this.#names.length}`);
    return name;
  }

  /** The number of an interface pattern as `-i` takes it: a name, or a beginning followed by `+`. */
  pattern(text: string): number {
    const known = this.#patternNumbers.get(text);
    if (known !== undefined) return known;
    const pattern = this.#patterns.length;
    this.#patterns.push(text);
    this.#patternNumbers.set(text, pattern);
    if (this.#patterns.length * this.#stride > this.#matches.length) this.#resize();
    for (let device = 0; device < this.#names.length; device++) this.#fill(pattern, text, device);
    return pattern;
  }

  /** Whether a device number answers to a pattern number. */
  matches(pattern: number, device: number): boolean {
    return this.#matches[pattern * this.#stride + device] === 1;
  }

  #fill(pattern: number, text: string, device: number): void {
    this.#matches[pattern * this.#stride + device] = namesDevice(text, this.#names[device] ?? "") ? 1 : 0;
  }

  #resize(): void {
    while (this.#stride < this.#names.length) this.#stride *= 2;
    this.#matches = new Uint8Array(Math.max(16, this.#patterns.length * 2) * this.#stride);
    for (const [pattern, text] of this.#patterns.entries()) {
      for (let device = 0; device < this.#names.length; device++) this.#fill(pattern, text, device);
    }
  }
}

/** `-i` and `-o` as x_tables compares them: `+` at the end stands for any ending, the empty one too (iptables(8)). */
function namesDevice(pattern: string, name: string): boolean {
  return pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
