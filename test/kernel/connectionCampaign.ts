/** Conversations through the kernel and through our table at once: the same states, events and entries, or a transcript. */
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import type { ConntrackOptions } from "../../dataplane/conntrack/options.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import {
  type ConnectionStep,
  type ConversationKind,
  drawConversation,
  mixed,
} from "../../verify/fuzz/conversations.ts";
import type { ConntrackEvent } from "../../verify/kernel/conntrackEvent.ts";
import { Random } from "../../verify/kernel/random.ts";
import { type ConnectionKernel, entryKey, type KernelAnswer } from "./connectionKernel.ts";

export interface CampaignOptions {
  readonly kind: ConversationKind;
  /** At least so many are compared. */
  readonly packets: number;
  readonly seed: number;
  readonly conntrack: ConntrackOptions;
}

export interface CampaignReport {
  readonly packets: number;
  readonly events: number;
  /** Entries compared with what the kernel's table held at the end of a round. */
  readonly entries: number;
  /** What occurred: segment or chunk, direction, state it met. */
  readonly covered: ReadonlySet<string>;
}

/** Conversations that are under way at once; fewer when the machine is slow. */
const CONVERSATIONS = 400;

/** A round must be over before two seconds make a UDP stream, because packets here all have one time. */
const LONGEST_ROUND_MS = 1500;

/** Entries of the kernel are up to this much older when its table is read. */
const SLACK_SECONDS = 6;

/** Conversation numbers become ports and addresses; they begin anew with each round's flush. */
const NUMBERS = 59_000;

/**
 * Draws conversations, mixes them, walks them on both sides and compares. Throws an error whose message is a transcript
 * of the shortest conversation it can find that still differs.
 */
export async function judgeConnections(kernel: ConnectionKernel, options: CampaignOptions): Promise<CampaignReport> {
  const random = new Random(options.seed);
  const covered = new Set<string>();
  const sum = { packets: 0, events: 0, entries: 0 };
  let conversationCount = CONVERSATIONS;
  kernel.configure(options.conntrack);
  while (sum.packets < options.packets) {
    const conversations = Array.from({ length: conversationCount }, (_, index) =>
      drawConversation(random, options.kind, (sum.packets + index) % NUMBERS),
    );
    const round = await walkBoth(kernel, mixed(random, conversations), options.conntrack);
    if (round === "too slow") {
      conversationCount = Math.max(10, conversationCount >> 1);
      continue;
    }
    const { difference } = round;
    if (difference !== undefined) {
      throw new Error(await told(kernel, conversations[difference.conversation] ?? [], { difference, options }));
    }
    for (const what of round.covered) covered.add(what);
    sum.packets += round.packets;
    sum.events += round.events;
    sum.entries += round.entries;
  }
  return { ...sum, covered };
}

type MixedStep = ReturnType<typeof mixed>[number];

/* ------------------------------------------------------ A round -------------------------------------------------- */

interface Difference {
  readonly conversation: number;
  readonly what: string;
}

interface Round {
  readonly packets: number;
  readonly events: number;
  readonly entries: number;
  readonly covered: ReadonlySet<string>;
  readonly difference: Difference | undefined;
}

async function walkBoth(
  kernel: ConnectionKernel,
  steps: readonly MixedStep[],
  options: ConntrackOptions,
): Promise<Round | "too slow"> {
  await kernel.flush();
  const start = performance.now();
  const answers = await kernel.walk(steps.map(({ step }) => step));
  if (performance.now() - start > LONGEST_ROUND_MS) return "too slow";
  const theirEntries = kernel.entries();
  const comparison = new Comparison(options);
  let difference: Difference | undefined;
  for (const [index, { step, conversation }] of steps.entries()) {
    const what = comparison.compare(step, answers[index]);
    if (what !== undefined) difference ??= { conversation, what };
    if (difference !== undefined) break;
  }
  difference ??= comparison.compareTables(theirEntries);
  const { events, covered, size } = comparison;
  return { packets: steps.length, events, entries: size, covered, difference };
}

/** Our table beside what the kernel's events say of its own. */
class Comparison {
  readonly covered = new Set<string>();
  events = 0;
  readonly #table: ConntrackTable;
  readonly #batch = createBatch(1);
  /** The kernel's number of each of our entries, and what its events told of it. */
  readonly #ids = new Map<string, number>();
  readonly #told = new Map<number, Pick<ConntrackEntry, "state" | "seenReply" | "assured">>();

  constructor(options: ConntrackOptions) {
    this.#table = new ConntrackTable(options);
  }

  get size(): number {
    return this.#table.size;
  }

  /** Walks one packet and says what differs, if anything does. */
  compare(step: ConnectionStep, answer: KernelAnswer | undefined): string | undefined {
    if (answer === undefined) return "the kernel did not answer";
    const { packet, zone, isDropped } = step;
    const table = this.#table;
    const tuple = packet.quoted === undefined ? { ...packet, zone } : { ...packet.quoted, icmpId: packet.icmpId, zone };
    const before = table.entry(tuple);
    this.#batch.length = 0;
    appendPacket(this.#batch, packet);
    const state = table.lookup(this.#batch, 0, zone);
    const { isReply, isPending, isTracked } = table;
    const why = table.lastWhy();
    if (isDropped) table.abandon();
    else table.confirm();
    const after = table.entry(tuple);
    this.covered.add(
      `${whatOf(packet)} ${before === undefined ? "" : directionIn(before, packet)} ${describe(before)}`,
    );

    const expected = isDropped ? undefined : state;
    if (answer.state !== expected) return `kernel ${answer.state}, ours ${expected} (${why})`;
    if (isTracked && !isDropped && answer.isReply !== isReply) return `kernel reply ${answer.isReply}, ours ${isReply}`;
    const isMade = isPending && !isDropped;
    const isGone = before !== undefined && (isPending || after === undefined);
    const events = this.#note(answer.events);
    if (events.made.length !== Number(isMade))
      return `kernel made ${events.made.length} entries, ours ${Number(isMade)}`;
    if (isGone !== (events.gone.length === 1))
      return `kernel removed ${events.gone.length} entries, ours ${Number(isGone)}`;
    if (isGone && events.gone[0] !== this.#ids.get(entryKey(before))) return "kernel removed another entry";
    if (isGone) this.#ids.delete(entryKey(before));
    if (after === undefined) return undefined;
    if (isMade) this.#ids.set(entryKey(after), events.made[0] ?? 0);
    // Events wait until a packet of the entry passes; a dropped one's come with the next.
    if (isDropped || !isTracked) return undefined;
    const theirs = describe(this.#told.get(this.#ids.get(entryKey(after)) ?? -1));
    return theirs === describe(after) ? undefined : `kernel ${theirs}, ours ${describe(after)} (${why})`;
  }

  #note(events: readonly ConntrackEvent[]): { readonly made: readonly number[]; readonly gone: readonly number[] } {
    this.events += events.length;
    for (const { kind, id, state, status } of events) {
      if (kind === "destroy") this.#told.delete(id);
      else {
        // An event names the state only if it changed.
        const known = state ?? this.#told.get(id)?.state;
        this.#told.set(id, { state: known, seenReply: (status & 2) !== 0, assured: (status & 4) !== 0 });
      }
    }
    const ids = (kind: ConntrackEvent["kind"]) => events.filter((event) => event.kind === kind).map(({ id }) => id);
    return { made: ids("new"), gone: ids("destroy") };
  }

  /** Entry by entry, deadlines included. */
  compareTables(theirs: readonly ConntrackEntry[]): Difference | undefined {
    const rest = new Map(theirs.map((entry) => [entryKey(entry), entry]));
    for (const entry of this.#table.entries()) {
      const key = entryKey(entry);
      const other = rest.get(key);
      rest.delete(key);
      const late = entry.timeout - (other?.timeout ?? 0);
      if (other !== undefined && describe(other) === describe(entry) && late >= 0 && late <= SLACK_SECONDS) continue;
      const text = other === undefined ? "nothing" : `${describe(other)} ${other.timeout}`;
      return { conversation: -1, what: `${key}: kernel ${text}, ours ${describe(entry)} ${entry.timeout}` };
    }
    for (const [key, entry] of rest)
      return { conversation: -1, what: `${key}: kernel ${describe(entry)}, ours nothing` };
    return undefined;
  }
}

function describe(entry: Pick<ConntrackEntry, "state" | "seenReply" | "assured"> | undefined): string {
  if (entry === undefined) return "none";
  const { state = "", seenReply, assured } = entry;
  return `${state}${seenReply ? "" : " unreplied"}${assured ? " assured" : ""}`.trim();
}

function whatOf(packet: Packet): string {
  switch (packet.protocol) {
    case PROTOCOL.tcp:
      return `tcp ${packet.tcpFlags}`;
    case PROTOCOL.sctp:
      return `sctp ${packet.sctpChunk}`;
    default:
      return `${packet.protocol} ${packet.icmpType}`;
  }
}

function directionIn(entry: ConntrackEntry, packet: Packet): "original" | "reply" {
  const isSame = (packet.quoted ?? packet).source.words.every((word, index) => word === entry.source.words[index]);
  return isSame ? "original" : "reply";
}

/* ------------------------------------------------------ A finding ------------------------------------------------ */

interface Told {
  readonly difference: Difference;
  readonly options: CampaignOptions;
}

/** The shortest conversation with a difference, packet by packet. */
async function told(
  kernel: ConnectionKernel,
  steps: readonly ConnectionStep[],
  { difference, options }: Told,
): Promise<string> {
  const { kind, seed, conntrack } = options;
  const head = [
    `conntrack differs from the kernel: ${difference.what}`,
    `${kind}, seed ${seed}, ${JSON.stringify(conntrack)}`,
  ];
  const differs = async (candidate: readonly ConnectionStep[]) => {
    const round = await walkBoth(
      kernel,
      candidate.map((step) => ({ step, conversation: 0 })),
      conntrack,
    );
    return round === "too slow" ? undefined : round.difference?.what;
  };
  let shortest = steps;
  let what = await differs(shortest);
  if (what === undefined) return [...head, "(not so when the conversation is alone)"].join("\n");
  for (let index = shortest.length - 1; index >= 0; index--) {
    const candidate = shortest.filter((_, other) => other !== index);
    const found = await differs(candidate);
    if (found === undefined) continue;
    shortest = candidate;
    what = found;
  }
  return [...head, `shortest: ${what}`, ...shortest.map(stepText)].join("\n");
}

function stepText({ packet, zone, isDropped }: ConnectionStep): string {
  return `  ${JSON.stringify(packetToObject(packet))}${zone === 0 ? "" : ` zone ${zone}`}${isDropped ? " dropped" : ""}`;
}
