/**
 * Which sets, and which of a few prefixes, hold the addresses of a class. A rule set like weave-npc's asks seventy sets about
 * one packet, each a search in a table of its own; all that most of them look at is an address, and its class already
 * stands for what they say. A list of such sets is asked one bit after the other, since the sets up to the first that says
 * yes are counted.
 */
import type { CurrentPacket } from "../currentPacket.ts";
import type { AddressClasses } from "./addressClasses.ts";

/** Of a set that asks for more than an address. */
export const NO_QUESTION = -1;

/** A question about a side, as one number: that of the question stands above these bits. */
export const ASKED = { negate: 1, ofSource: 2, shift: 2 } as const;

/** Classes of the addresses on both sides. */
export type SidesClasses = Readonly<Record<"source4" | "source6" | "destination4" | "destination6", AddressClasses>>;

/** What asks a set, by its name. */
export interface SetQuestions {
  /** The question of a set of addresses; `NO_QUESTION`: it is none. */
  readonly question: (set: string) => number;
  /** The questions of the sets that a list has, in order; undefined: it is none, or of sets that ask for more. */
  readonly listed: (list: string) => readonly number[] | undefined;
  /** The question whether an address is the node's own; `NO_QUESTION`: nobody asks. */
  readonly local: () => number;
  /** The question of an IPv4 prefix; `NO_QUESTION`: it has none. */
  readonly prefix: (word: number, mask: number) => number;
}

export class SetAnswers {
  /** Bits by question, for one class after the other. */
  readonly words: Int32Array;
  readonly question: SetQuestions["question"];
  readonly listed: SetQuestions["listed"];
  readonly local: SetQuestions["local"];
  readonly prefix: SetQuestions["prefix"];
  readonly #starts: Readonly<Record<keyof SidesClasses, number>>;
  readonly #stride: number;

  constructor(classes: SidesClasses, { question, listed, local, prefix }: SetQuestions) {
    const { source4, source6, destination4, destination6 } = classes;
    const parts = [source4, source6, destination4, destination6].map(({ answers }) => answers);
    const starts: number[] = [];
    let length = 0;
    for (const part of parts) {
      starts.push(part === undefined ? -1 : length);
      length += part?.words.length ?? 0;
    }
    this.words = new Int32Array(length);
    for (const [index, part] of parts.entries()) if (part !== undefined) this.words.set(part.words, starts[index]);
    this.question = question;
    this.listed = listed;
    this.local = local;
    this.prefix = prefix;
    this.#stride = parts.find((part) => part !== undefined)?.stride ?? 0;
    const [ofSource4 = -1, ofSource6 = -1, ofDestination4 = -1, ofDestination6 = -1] = starts;
    this.#starts = {
      source4: ofSource4,
      source6: ofSource6,
      destination4: ofDestination4,
      destination6: ofDestination6,
    };
  }

  /** More than any question's number. */
  get count(): number {
    return this.#stride * 32;
  }

  /** Names the answers about a packet's addresses by the numbers of their classes. */
  name(packet: CurrentPacket, isIpv4: boolean, source: number, destination: number): void {
    const ofSource = isIpv4 ? this.#starts.source4 : this.#starts.source6;
    const ofDestination = isIpv4 ? this.#starts.destination4 : this.#starts.destination6;
    packet.sourceAnswers = ofSource < 0 ? -1 : ofSource + source * this.#stride;
    packet.destinationAnswers = ofDestination < 0 ? -1 : ofDestination + destination * this.#stride;
  }
}
