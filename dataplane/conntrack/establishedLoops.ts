/**
 * Rows of established segments let pass many at once, by WebAssembly.
 *
 * Each packet reads cache lines that depend on each other: the place that its hash names, then the entry. One packet after
 * the other would wait for each of them. So blocks of rows go through loops (establishedCode.ts), each of which does one step
 * for all rows of a block: their hashes, then their places, then their entries, then what `passSegment` does, then their results.
 * Within the first three no row waits for another, and the processor has the lines of many under way. JavaScript checks the bounds of a hundred accesses
 * to arrays for a row; code over a memory of its own has its bounds from the hardware, and engines of other programs in the
 * process do not slow it down. The price: the table must lie in that memory, so it moves there (establishedPass.ts).
 *
 * Only what most packets are passes: IPv4 segments that carry an ACK, in zone 0. Those of no connection are refused on the way if one like
 * them was: whoever is refused goes on asking. All else, and every row wherever a page's
 * policy forbids to compile, goes one by one. `test/dataplane/establishedRuns.test.ts` holds both against the engine that walks.
 */
import { OUTCOME_WORDS } from "../classes/outcomes.ts";
import type { PacketBatch } from "../packet.ts";
import type { ResultBatch } from "../result.ts";
import { compiled, instantiated, memoryOf, type WasmFunction } from "../wasm/module.ts";
import { loops } from "./establishedCode.ts";
import {
  CLOCK,
  COLUMN,
  CONTEXTS,
  COUNTS,
  FLAG_BYTES,
  FLAG_CLASSES,
  FOUND,
  MOST_CONTEXTS,
  MOST_OUTCOMES,
  NOW,
  OUTCOMES,
  PLACES,
  REFUSED,
  REFUSED_BITS,
  REFUSED_BYTES,
  REFUSED_WORD,
  RESULT,
} from "./establishedLayout.ts";
import { FLOW_BYTES, type Flow } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";
import { TCP_STATE } from "./tcpEntry.ts";
import { MOST_ROWS, type RememberedContexts, type RowClock } from "./tcpEstablished.ts";
import type { PacketTuple } from "./tuple.ts";

/** Bytes that WebAssembly can address, less a page. */
const MOST_BYTES = 2 ** 32 - 2 ** 16;

/** Of all tables; undefined where nothing may be compiled. */
const code: { module?: ReturnType<typeof compiled> } = {};

function moduleOfLoops() {
  if (!("module" in code)) code.module = compiled(loops());
  return code.module;
}

/** Whether a table has had them compiled. */
export function areLoopsCompiled(): boolean {
  return code.module !== undefined;
}

/* ---------------------------------------------- A table's memory -------------------------------------------------- */

/** Columns of results that outcomes tell, in the memory of the loops. */
export type EstablishedResults = Pick<
  ResultBatch,
  "verdict" | "ctState" | "decision" | "rules" | "chains" | "setLookups"
>;

/** Rows to pass, and what is known of them. */
export interface RowsToPass {
  readonly batch: PacketBatch;
  readonly first: number;
  /** `MOST_ROWS` at most. */
  readonly count: number;
  readonly contexts: RememberedContexts;
  /** Whether each of them could begin a connection: else none is refused that would. */
  readonly hasRoom: boolean;
}

/** The memory in which a table lies for the loops to run over it, and they. */
export class EstablishedLoops {
  /** Room for the places of the index, two words each, and for the words of all entries; all zero. */
  readonly places: Int32Array;
  readonly words: Int32Array;
  /**
   * Of the rows looked at last, so many: what their outcomes say, for those that passed or were refused; which were left, and the
   * seconds before each of those; which were refused, and what was remembered of those; the seconds after all.
   */
  readonly results: EstablishedResults;
  readonly left: Int32Array;
  readonly leftSeconds: Float64Array;
  readonly refused: Int32Array;
  readonly refusals: Int32Array;
  looked = 0;
  leftCount = 0;
  refusedCount = 0;
  seconds = 0;
  readonly #run: WasmFunction;
  readonly #columns: readonly (readonly [name: keyof typeof COLUMN, column: Columns])[];
  readonly #unhung: Int32Array;
  /** Records of tuples that were refused. */
  readonly #memories: Int32Array;
  readonly #counts: Int32Array;
  readonly #clock: Float64Array;
  readonly #now: Int32Array;
  readonly #contexts: Int32Array;
  readonly #outcomes: Int32Array;
  readonly #flagClasses: Uint8Array;
  /** The contexts at hand: these words, so many of them. */
  #known: Int32Array | undefined;
  #knownCount = 0;
  #knownOutcomes: Int32Array | undefined;
  #outcomeCount = 0;
  #stamp = 0;

  /** For a table of at most so many entries; undefined where there is no WebAssembly, or no room. */
  static of(most: number): EstablishedLoops | undefined {
    const places = 2 ** Math.max(7, Math.ceil(Math.log2(2 * most)));
    const bytes = PLACES + places * 8 + most * FLOW_BYTES;
    const module = bytes > MOST_BYTES ? undefined : moduleOfLoops();
    const memory = module === undefined ? undefined : memoryOf(bytes);
    if (module === undefined || memory === undefined) return undefined;
    return new EstablishedLoops(memory.buffer, instantiated(module, memory), places, most);
  }

  private constructor(buffer: ArrayBuffer, run: WasmFunction, places: number, most: number) {
    this.#run = run;
    this.places = new Int32Array(buffer, PLACES, places * 2);
    this.words = new Int32Array(buffer, PLACES + places * 8, (most * FLOW_BYTES) / 4);
    this.results = {
      verdict: new Uint8Array(buffer, RESULT.verdict, MOST_ROWS),
      ctState: new Uint8Array(buffer, RESULT.ctState, MOST_ROWS),
      decision: new Int32Array(buffer, RESULT.decision, MOST_ROWS),
      rules: new Uint32Array(buffer, RESULT.rules, MOST_ROWS),
      chains: new Uint32Array(buffer, RESULT.chains, MOST_ROWS),
      setLookups: new Uint32Array(buffer, RESULT.setLookups, MOST_ROWS),
    };
    this.left = new Int32Array(buffer, FOUND.left, MOST_ROWS);
    this.leftSeconds = new Float64Array(buffer, FOUND.leftSeconds, MOST_ROWS);
    this.#columns = (Object.keys(COLUMN) as (keyof typeof COLUMN)[]).map((name) => [name, columnIn(buffer, name)]);
    this.#unhung = new Int32Array(buffer, FOUND.unhung, MOST_ROWS);
    this.refused = new Int32Array(buffer, FOUND.refused, MOST_ROWS);
    this.refusals = new Int32Array(buffer, FOUND.refusals, MOST_ROWS);
    this.#memories = new Int32Array(buffer, REFUSED, (REFUSED_BYTES << REFUSED_BITS) / 4);
    this.#counts = new Int32Array(buffer, COUNTS, 3);
    this.#clock = new Float64Array(buffer, CLOCK, 2);
    this.#now = new Int32Array(buffer, NOW, 1);
    this.#contexts = new Int32Array(buffer, CONTEXTS, MOST_CONTEXTS * 4);
    this.#outcomes = new Int32Array(buffer, OUTCOMES, MOST_OUTCOMES * OUTCOME_WORDS);
    this.#flagClasses = new Uint8Array(buffer, FLAG_CLASSES, FLAG_BYTES);
  }

  /** So many entries that passed have to be visited earlier than they would be. */
  get unhungCount(): number {
    return this.#counts[1] ?? 0;
  }

  /** The slot of one of them. */
  unhungSlot(index: number): number {
    return (((this.#unhung[index] ?? 0) >>> 0) - this.words.byteOffset) / FLOW_BYTES;
  }

  /** Leaves a word for segments of a tuple over IPv4 that has no entry, until another one takes its place. */
  rememberRefused({ hash, kind, source0, destination0, ports, replyPorts }: PacketTuple, word: number): void {
    const records = this.#memories;
    const at = (hash >>> (32 - REFUSED_BITS)) * (REFUSED_BYTES / 4);
    const memo = at + REFUSED_WORD.memo;
    const isOfKind = records[at + 3] === kind;
    if (isOfKind && records[at] === destination0 && records[at + 1] === source0 && records[at + 2] === replyPorts) {
      records[memo + 1] = word;
      return;
    }
    const isSame = isOfKind && records[at] === source0 && records[at + 1] === destination0 && records[at + 2] === ports;
    if (!isSame) records[memo + 1] = 0;
    records[at] = source0;
    records[at + 1] = destination0;
    records[at + 2] = ports;
    records[at + 3] = kind;
    records[memo] = word;
  }

  forgetRefused(): void {
    this.#memories.fill(0);
  }

  /** Looks at the rows in turn, as long as the clock lets it: each has passed or was left. The clock stays. */
  pass(rows: RowsToPass, index: { readonly shift: number; readonly mask: number }, flow: Flow, clock: RowClock): void {
    const { timeouts, settings } = flow;
    this.looked = this.leftCount = this.refusedCount = this.#counts[1] = 0;
    if (settings.tcpMaxRetransmissions === 0) return;
    const { batch, first, count, contexts, hasRoom } = rows;
    for (const [name, column] of this.#columns) column.set(batch[name].subarray(first, first + count));
    this.#learn(contexts);
    this.#clock[0] = clock.seconds;
    this.#clock[1] = clock.until;
    this.#now[0] = flow.now;
    const established = timeouts[TIMEOUT_SLOT.tcp + TCP_STATE.established] ?? 0;
    const unacknowledged = Math.min(established, timeouts[TIMEOUT_SLOT.tcpUnacknowledged] ?? 0);
    this.#stamp = (this.#stamp + 1) | 0;
    const { shift, mask } = index;
    const { byteOffset } = this.words;
    const refuses = Number(hasRoom);
    this.looked = this.#run(count, shift, mask, byteOffset, established, unacknowledged, this.#stamp, refuses);
    this.seconds = this.#clock[0] ?? 0;
    this.leftCount = this.#counts[0] ?? 0;
    this.refusedCount = this.#counts[2] ?? 0;
  }

  /** Contexts and outcomes are only ever added to, until others come in other words. */
  #learn({ words, count, tcpFlags, outcomes, outcomeCount }: RememberedContexts): void {
    if (outcomes !== this.#knownOutcomes || outcomeCount !== this.#outcomeCount) {
      const from = outcomes === this.#knownOutcomes ? this.#outcomeCount * OUTCOME_WORDS : 0;
      this.#outcomes.set(outcomes.subarray(from, outcomeCount * OUTCOME_WORDS), from);
      this.#knownOutcomes = outcomes;
      this.#outcomeCount = outcomeCount;
    }
    if (words === this.#known && count === this.#knownCount) return;
    this.#contexts.set(words.subarray(0, (count + 1) * 4));
    this.#flagClasses.set(tcpFlags);
    this.#known = words;
    this.#knownCount = count;
  }
}

type Columns = Uint8Array | Uint16Array | Int32Array | Uint32Array | Float64Array;

function columnIn(buffer: ArrayBuffer, name: keyof typeof COLUMN): Columns {
  const at = COLUMN[name];
  switch (name) {
    case "family":
    case "protocol":
    case "flags":
    case "tcpFlags":
    case "path":
      return new Uint8Array(buffer, at, MOST_ROWS);
    case "sourcePort":
    case "destinationPort":
    case "inDevice":
    case "outDevice":
    case "physInDevice":
    case "physOutDevice":
    case "window":
      return new Uint16Array(buffer, at, MOST_ROWS);
    case "source0":
    case "destination0":
      return new Int32Array(buffer, at, MOST_ROWS);
    case "mark":
    case "sequence":
    case "acknowledgment":
    case "payloadBytes":
      return new Uint32Array(buffer, at, MOST_ROWS);
    case "time":
      return new Float64Array(buffer, at, MOST_ROWS);
  }
}
