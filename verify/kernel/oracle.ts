/** A namespace of its own with devices, behind the C helper: packets in, what the kernel did with each out. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { cacheFolder, helperPath } from "./helper.ts";

/** `tun`: packets without a frame, the far end of a routed link. `tap`: Ethernet frames, for ports of a bridge. */
export interface Device {
  readonly kind: "tun" | "tap";
  readonly name: string;
}

export interface OracleOptions {
  /** Numbered in this order from 0. */
  readonly devices: readonly Device[];
  /** Listen to rule traces (legacy TRACE or nft), and to connection-tracking events. */
  readonly trace?: "legacy" | "nft";
  readonly events?: boolean;
  /** `verify`: the kernel looks at checksums itself. Default: it takes them for verified, as from a veth. */
  readonly checksums?: "verify";
}

/** Operations of oracle.c. */
const OPERATION = { inject: 1, send: 2, drain: 3, flush: 4, pace: 5 } as const;

/** What an item of an answer is, as oracle.c numbers it; below `log` it is the number of a device. */
export const ITEM = {
  log: 0x1000,
  input: 0x1001,
  trace: 0x1002,
  conntrack: 0x1003,
  overflow: 0x1004,
  answer: 0x1005,
  pace: 0x1006,
} as const;

/** One thing that a packet caused: a packet that left by a device, or a netlink message. */
export interface AnswerItem {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** Everything that one packet caused, in the order of the sources. */
export interface Answer {
  /** errno of the write; EPERM is how a raw socket learns that OUTPUT dropped its packet. */
  readonly error: number;
  readonly items: readonly AnswerItem[];
}

const REQUEST_HEADER = 8;

/** Requests for the helper in one growing buffer: a batch. The caller writes the packet where `add` says. */
export class Requests {
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The buffer that `add` returns offsets of; a later `add` may replace it. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Reserves `length` bytes for a packet (a frame on a `tap`) that arrives on device number `device`. */
  inject(device: number, length: number): number {
    return this.#add(OPERATION.inject, device, length);
  }

  /** Reserves `length` bytes for a packet that the node itself sends. */
  send(length: number): number {
    return this.#add(OPERATION.send, 0, length);
  }

  /** Forgets all connections of the namespace; the answer has no items. */
  flush(): void {
    this.#add(OPERATION.flush, 0, 0);
  }

  /** Reserves `length` bytes for packets whose cost is asked for, as PACE of oracle.c has them. */
  pace(length: number): number {
    return this.#add(OPERATION.pace, 0, length);
  }

  /** Throws away whatever came out by itself; the answer has no items. */
  drain(): void {
    this.#add(OPERATION.drain, 0, 0);
  }

  /** What was added so far; the buffer is free again. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    this.#count = 0;
    return taken;
  }

  #add(operation: number, device: number, length: number): number {
    const at = this.#length;
    const end = at + REQUEST_HEADER + length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#view.setUint32(at, length + 4, true);
    this.#view.setUint8(at + 4, operation);
    this.#view.setUint8(at + 5, 0);
    this.#view.setUint16(at + 6, device, true);
    this.#length = end;
    this.#count++;
    return at + REQUEST_HEADER;
  }
}

/** The helper answers in this machine's byte order; every machine Node runs on with TUN devices is little-endian. */
const LITTLE_ENDIAN = true;

/**
 * A running helper. Invariants: answers come in the order of requests; when the process ends, every promise still
 * waiting is rejected with what it said. Nothing outlives it: the kernel deletes namespace, devices and rules with it.
 */
export class Oracle {
  readonly devices: readonly Device[];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<void>;
  #said = "";
  #ended = false;
  #chunks: Uint8Array[] = [];
  #waiting: { count: number; answers: Answer[]; resolve: (answers: Answer[]) => void; reject: (why: Error) => void }[] =
    [];

  private constructor(options: OracleOptions) {
    const flags = [...(options.trace === undefined ? [] : [options.trace === "legacy" ? "-l" : "-n"])];
    if (options.events) flags.push("-c");
    if (options.checksums === "verify") flags.push("-v");
    const devices = options.devices.map((device) => `${device.kind}:${device.name}`);
    this.devices = options.devices;
    this.#child = spawn(helperPath(), [...flags, ...devices], { stdio: "pipe" });
    this.#child.stdout.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
    });
    this.#child.stdin.on("error", () => {}); // the exit below says why it closed
    this.#exited = new Promise((resolve) => {
      const ended = (why: string) => {
        this.#ended = true;
        const said = this.#said.trim();
        for (const { reject } of this.#waiting.splice(0))
          reject(new Error(`kernel helper ${why}: ${said || "no words"}`));
        resolve();
      };
      this.#child.once("error", (error) => ended(`did not start (${error.message})`));
      this.#child.once("close", (code, signal) => ended(`ended with ${signal ?? code}`));
    });
  }

  /** Starts the helper and waits until its devices are there. Rejects with the helper's words when it cannot. */
  static async start(options: OracleOptions): Promise<Oracle> {
    const oracle = new Oracle(options);
    await oracle.#expect(1);
    return oracle;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error("kernel helper has no process");
    return pid;
  }

  /** Runs a shell script inside the namespace and returns what it printed. Throws with its words when it fails. */
  run(script: string): string {
    const { error, status, stdout, stderr } = spawnSync("nsenter", this.#shell, {
      input: script,
      encoding: "utf8",
      maxBuffer: 1 << 28,
      env: environment(),
    });
    if (error !== undefined) throw new Error(`nsenter: ${error.message}`);
    if (status !== 0) throw refusal(script, stderr, status);
    return stdout;
  }

  /** `run` that does not wait in place, so that several namespaces can be set up at once. */
  runAside(script: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn("nsenter", this.#shell, { stdio: "pipe", env: environment() });
      let printed = "";
      let said = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        printed += text;
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      child.stdin.on("error", () => {}); // the exit says why it closed
      child.once("error", (error) => reject(new Error(`nsenter: ${error.message}`)));
      child.once("close", (status) => (status === 0 ? resolve(printed) : reject(refusal(script, said, status))));
      child.stdin.end(script);
    });
  }

  /** The script comes on standard input, because an argument may not be longer than 128 KiB. */
  get #shell(): string[] {
    return [`--net=/proc/${this.pid}/ns/net`, "sh", "-e"];
  }

  /** Sends a batch; the answers come one for each request, in order. */
  exchange(requests: Requests): Promise<readonly Answer[]> {
    const count = requests.count;
    if (count === 0) return Promise.resolve([]);
    const answers = this.#expect(count);
    this.#child.stdin.write(requests.take());
    return answers;
  }

  /** Ends the helper; namespace, devices and rules are gone when the promise resolves. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  #expect(count: number): Promise<Answer[]> {
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(new Error(`kernel helper has ended: ${this.#said.trim()}`));
      else this.#waiting.push({ count, answers: [], resolve, reject });
    });
  }

  #receive(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (bytes.length - at >= 4) {
      const end = at + 4 + view.getUint32(at, LITTLE_ENDIAN);
      if (end > bytes.length) break;
      this.#answer(readAnswer(bytes, view, at + 4));
      at = end;
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
  }

  #answer(answer: Answer): void {
    const first = this.#waiting[0];
    if (first === undefined) throw new Error("kernel helper answered without being asked");
    first.answers.push(answer);
    if (first.answers.length < first.count) return;
    this.#waiting.shift();
    first.resolve(first.answers);
  }
}

function readAnswer(bytes: Uint8Array, view: DataView, start: number): Answer {
  const items: AnswerItem[] = [];
  let at = start + 4;
  for (let left = view.getUint16(start + 2, LITTLE_ENDIAN); left > 0; left--) {
    const length = view.getUint16(at + 2, LITTLE_ENDIAN);
    items.push({ kind: view.getUint16(at, LITTLE_ENDIAN), bytes: bytes.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  return { error: view.getUint16(start, LITTLE_ENDIAN), items };
}

/** The lock of the legacy tools is one file for the whole machine; ours keeps judges from waiting for the host. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, XTABLES_LOCKFILE: join(cacheFolder(), "xtables.lock") };
}

function refusal(script: string, said: string, status: number | null): Error {
  const lines = script.split("\n");
  const shown = lines.length > 200 ? [...lines.slice(0, 200), `… ${lines.length - 200} more lines`] : lines;
  return new Error(`in the namespace: ${said.trim() || `status ${status}`}\n${shown.join("\n")}`);
}
